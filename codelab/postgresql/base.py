"""Sets the time limits of a connection by a statement.

As `options` of the startup packet they would cost no round trip. But PgBouncer refuses such a packet, in session mode
as well, and the service would not start behind it. A connection lives long, in the pool or in its thread.
"""

from typing import Any

from django.db.backends.postgresql import base

from codelab.postgresql.prepared import PreparedCursor


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's connection. `LIMITS` of its settings has parameters of PostgreSQL, times in milliseconds."""

    def set_limits(self, connection: Any) -> bool:
        """Set the limits of a psycopg connection for as long as it lives; return whether there are any."""
        limits: dict[str, int] = self.settings_dict.get("LIMITS", {})
        if not limits:
            return False
        statement = ", ".join(["set_config(%s, %s, false)"] * len(limits))
        values = [text for name, value in limits.items() for text in (name, str(value))]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {statement}", values)
        return True

    def _configure_connection(self, connection: Any) -> bool:
        """Prepare a new connection, of the pool or not. Django's name, read in django 6.1.3; it has no public one."""
        must_commit: bool = super()._configure_connection(connection)  # type: ignore[misc]
        return self.set_limits(connection) or must_commit

    def prepared_cursor(self, **options: Any) -> Any:
        """Return a cursor whose statements are prepared. `options` are those of `PreparedCursor`."""
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(PreparedCursor(self.connection, **options))  # type: ignore[attr-defined]
