"""The database's tables: whether they fit this version, and how they change beside running processes.

A change must never make a running process wait for longer than `LOCK_TIMEOUT`, never scan a table under a lock, and
never hold another table while it waits for that of the sessions, which every process locks first.
"""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import OperationalError, connection
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg import errors

#: How long a change waits for its lock. Statements of running processes queue behind it.
LOCK_TIMEOUT = "300ms"
#: Between two tries: the first delay, twice as long each time, up to the last one.
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.5, 10.0
#: Then something holds a lock that it should not hold.
RETRY_SECONDS = 600.0

#: Every transaction that writes of a session locks its row first. A change that took the other tables before this one
#: would have one half of the locks and a running process the other, at each of its tries.
_SESSIONS = "agent_sessions_session"

_IS_VALID = """
    SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relname = %s AND pg_table_is_visible(pg_class.oid)
"""


@cache
def _known() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)


def pending_migrations() -> list[str]:
    """Return the names of this version's migrations that the database does not have yet."""
    applied = MigrationRecorder(connection).applied_migrations()
    return [f"{app}.{name}" for app, name in sorted(_known() - set(applied))]


def is_busy(error: BaseException) -> bool:
    """Return whether a change did not get its lock. It was rolled back, and may be tried again."""
    return isinstance(error.__cause__, errors.LockNotAvailable | errors.DeadlockDetected)


class Patience:
    """Waits between tries, and tells the operator why."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self.say = say
        self.delay = FIRST_DELAY_SECONDS
        self.end = time.monotonic() + RETRY_SECONDS

    def wait(self, error: Exception) -> None:
        """Wait before another try; raise the error when it is not about a lock, or after too long."""
        if not is_busy(error) or time.monotonic() > self.end:
            raise error
        self.say(f"  Running processes hold a lock that this change needs. Next try in {self.delay:.1f} s.")
        time.sleep(self.delay)
        self.delay = min(self.delay * 2, MAX_DELAY_SECONDS)


class PatientSchemaEditor(DatabaseSchemaEditor):
    """Changes tables that are in use.

    Check constraints are added without a scan of the table; `validate_constraints` checks the rows afterwards, while
    they are in use. An index that a cancelled build has left behind is built again. Outside of a transaction a
    statement that gets no lock is repeated; a transaction is repeated as a whole by the command `migrate`.
    """

    sql_create_check = DatabaseSchemaEditor.sql_create_check + " NOT VALID"

    def __init__(self, *args: Any, say: Callable[[str], object], **options: Any) -> None:
        super().__init__(*args, **options)
        self.say = say
        self.has_sessions = False

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run a statement, as often as it takes to get its lock. A transaction begins with the lock of the sessions."""
        if self.connection.in_atomic_block and not self.has_sessions:
            self._lock_sessions()
        patience = Patience(self.say)
        while True:
            try:
                super().execute(sql, params)
            except OperationalError as error:
                if self.connection.in_atomic_block:
                    raise
                patience.wait(error)
            else:
                return

    def _lock_sessions(self) -> None:
        self.has_sessions = True
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [_SESSIONS])
            if cursor.fetchone() == (True,):
                cursor.execute(f"LOCK TABLE {_SESSIONS} IN ACCESS EXCLUSIVE MODE")

    def add_index(self, model: Any, index: Any, concurrently: bool = False) -> None:
        """Build an index, unless an earlier try has built it. A concurrent build waits for old transactions."""
        if not concurrently:
            super().add_index(model, index)
            return
        patience = Patience(self.say)
        while True:
            with self.connection.cursor() as cursor:
                cursor.execute(_IS_VALID, [index.name])
                is_valid = next((valid for (valid,) in cursor.fetchall()), None)
            if is_valid:
                return
            if is_valid is False:
                self.say(f"  A cancelled build has left the index {index.name} behind. It is built again.")
                self.execute(f"DROP INDEX CONCURRENTLY {self.quote_name(index.name)}", params=None)
            try:
                # It blocks no other statement while it waits, and a wait that is cut off leaves an invalid index.
                self.execute("SET lock_timeout = 0", params=None)
                DatabaseSchemaEditor.execute(self, index.create_sql(model, self, concurrently=True), params=None)
                return
            except OperationalError as error:
                patience.wait(error)
            finally:
                self.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'", params=None)


def validate_constraints(say: Callable[[str], object]) -> None:
    """Check the rows behind constraints that were added without a scan. Reading and writing go on meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT conrelid::regclass::text, conname FROM pg_constraint
            WHERE NOT convalidated AND contype = 'c' AND connamespace = current_schema()::regnamespace
        """)
        for table, name in cursor.fetchall():
            say(f"  Validating {name} of {table} …")
            patience = Patience(say)
            while True:
                try:
                    cursor.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {connection.ops.quote_name(name)}")
                    break
                except OperationalError as error:
                    patience.wait(error)
