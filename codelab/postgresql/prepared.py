"""A cursor for statements that every turn runs: PostgreSQL plans each once for a connection.

It talks to libpq itself. The driver's own cursor takes as much processor time for one statement as PostgreSQL does, and
sends BEGIN and COMMIT in messages of their own: here BEGIN goes with the first statement of a transaction, a lock with
what is read behind it, and COMMIT with the last statement, as one message each. All parameters are texts
(`codelab.postgresql.parameters`), so a statement has one plan whatever its values are. Errors are the driver's, and
transactions are Django's.
"""

from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, OperationalError, errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from codelab.postgresql.parameters import literal, text_of

#: The names of the statements that a connection has planned.
_names: WeakKeyDictionary[Connection[Any], dict[str, str]] = WeakKeyDictionary()
_numbers = count(1)
#: Statements that a connection keeps. Every turn runs about 20; others differ by how many rows they write. Each takes
#: 160 KB of PostgreSQL's memory, on every connection.
MAX_STATEMENTS = 64


class PreparedCursor:
    """Runs statements with placeholders `$1`, `$2` …"""

    def __init__(
        self, connection: Connection[Any], *, first: tuple[str, Sequence[Any]] | None = None, commit: bool = False
    ) -> None:
        self.connection = connection
        #: Another statement with its parameters, which runs before in the same message. Its rows are not read.
        self._first = first
        #: The transaction ends with the statement, if it succeeds.
        self._commit = commit
        self._rows: list[tuple[Any, ...]] = []
        self._statement = ""

    @property
    def _query(self) -> SimpleNamespace:
        """What Django logs in debug mode."""
        return SimpleNamespace(query=self._statement.encode())

    def execute(self, statement: str, parameters: Any = ()) -> None:
        """Run a statement."""
        self._statement = statement
        libpq = self.connection.pgconn
        must_begin = not self.connection.autocommit and libpq.transaction_status == TransactionStatus.IDLE
        if must_begin or self._first or self._commit:
            calls = [self._call(*self._first)] if self._first else []
            calls.append(self._call(statement, parameters))
            message = "; ".join(["BEGIN"] * must_begin + calls + ["COMMIT"] * self._commit)
            # Returns the result of the last statement, or the first error.
            result = libpq.exec_(message.encode())
        else:
            texts = map(text_of, parameters)
            encoded: list[Any] = [None if text is None else text.encode() for text in texts]
            result = libpq.exec_prepared(self._prepare(statement).encode(), encoded)
        try:
            self._rows = self._read(result)
        except errors.FeatureNotSupported:
            # "cached plan must not change result type": a migration has changed a column that the statement returns.
            # All other plans of the connection may be as old.
            self.connection.close()
            raise

    def _call(self, statement: str, parameters: Any) -> str:
        values = ", ".join(literal(text_of(value)) for value in parameters)
        return f"EXECUTE {self._prepare(statement)}({values})" if values else f"EXECUTE {self._prepare(statement)}"

    def _prepare(self, statement: str) -> str:
        """Return the name of a statement on this connection, and plan it the first time."""
        names = _names.setdefault(self.connection, {})
        name = names.pop(statement, None)
        if name is None:
            while len(names) >= MAX_STATEMENTS:
                # The one that was not used for the longest time: never the one before it in the same message.
                forgotten = names.pop(next(iter(names)))
                self._read(self.connection.pgconn.exec_(f"DEALLOCATE {forgotten}".encode()))
            name = f"codelab_{next(_numbers)}"
            self._read(self.connection.pgconn.prepare(name.encode(), statement.encode()))
        names[statement] = name
        return name

    def _read(self, result: Any) -> list[tuple[Any, ...]]:
        if result.status == ExecStatus.TUPLES_OK:
            transformer = Transformer(self.connection)
            transformer.set_pgresult(result)
            return transformer.load_rows(0, result.ntuples, tuple)
        if result.status == ExecStatus.COMMAND_OK:
            return []
        if self.connection.pgconn.status == ConnStatus.BAD and not result.error_field(ord("C")):
            # The connection's text has what the server said before, such as the timeout that ended the transaction.
            raise OperationalError(self.connection.pgconn.get_error_message())
        raise errors.error_from_result(result)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""
        return self._rows

    def close(self) -> None:
        """Do nothing: the cursor holds no resources."""
