"""Sets the time limits of a connection by a statement.

As `options` of the startup packet they would cost no round trip. But PgBouncer refuses such a packet, in session mode
as well, and the service would not start behind it. A connection lives long, in the pool or in its thread.
"""

from typing import Any

from django.db.backends.postgresql import base

from codelab.postgresql.prepared import PreparedCursor

#: A prepared statement has one plan. Left to itself PostgreSQL plans some anew for each of their values, because it
#: compares what both plans are said to cost, without what the planning costs: 0.2 to 0.6 ms for ours. A plan must not
#: read whole tables because they were small when it was made: it stays until the next ANALYZE, and they grow. Where
#: there is no index PostgreSQL reads them all the same; version 17 and older would compile such a plan.
PLANNING = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's connection. `LIMITS` of its settings has parameters of PostgreSQL, times in milliseconds."""

    def set_limits(self, connection: Any) -> None:
        """Set the limits of a psycopg connection, and how it plans, for as long as it lives."""
        parameters = PLANNING | self.settings_dict.get("LIMITS", {})
        statement = ", ".join(["set_config(%s, %s, false)"] * len(parameters))
        values = [text for name, value in parameters.items() for text in (name, str(value))]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {statement}", values)

    def _configure_connection(self, connection: Any) -> bool:
        """Prepare a new connection, of the pool or not. Django's name, read in django 6.1.3; it has no public one."""
        super()._configure_connection(connection)  # type: ignore[misc]
        self.set_limits(connection)
        # What was set holds from the commit on.
        return True

    def prepared_cursor(self, **options: Any) -> Any:
        """Return a cursor whose statements are prepared. `options` are those of `PreparedCursor`."""
        self.ensure_connection()
        with self.wrap_database_errors:
            return self._prepare_cursor(PreparedCursor(self.connection, **options))  # type: ignore[attr-defined]
