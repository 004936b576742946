"""A cursor for statements that every turn runs: PostgreSQL plans each once for a connection.

It talks to libpq itself. The driver's own cursor takes as much processor time for one statement as PostgreSQL does, and
sends BEGIN and COMMIT in messages of their own: here BEGIN goes with the first statement of a transaction, and COMMIT
with the last one, as one message each. All parameters are texts whose types PostgreSQL takes from their places, so a
statement has one plan whatever its values are. Errors are the driver's, and transactions are Django's.
"""

from itertools import count
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, DataError, OperationalError, errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

#: The names of the statements that a connection has planned.
_names: WeakKeyDictionary[Connection[Any], dict[str, str]] = WeakKeyDictionary()
_numbers = count(1)
#: Statements that a connection keeps. Every turn runs about 20; others differ by how many rows they write.
MAX_STATEMENTS = 200


class PreparedCursor:
    """Runs statements with placeholders `$1`, `$2` … and texts, lists of texts, or None as parameters."""

    def __init__(self, connection: Connection[Any], *, commit: bool = False) -> None:
        self.connection = connection
        #: The transaction ends with the statement, if it succeeds.
        self._commit = commit
        self._rows: list[tuple[Any, ...]] = []
        #: What Django logs in debug mode.
        self._query: SimpleNamespace | None = None

    def execute(self, statement: str, parameters: Any = ()) -> None:
        """Run a statement."""
        self._query = SimpleNamespace(query=statement.encode())
        libpq = self.connection.pgconn
        must_begin = not self.connection.autocommit and libpq.transaction_status == TransactionStatus.IDLE
        values = [_text(value) for value in parameters]
        name = self._prepare(statement)
        if must_begin or self._commit:
            call = f"EXECUTE {name}({', '.join(map(_literal, values))})" if values else f"EXECUTE {name}"
            text = f"{'BEGIN; ' if must_begin else ''}{call}{'; COMMIT' if self._commit else ''}"
            result = libpq.exec_(text.encode())
        else:
            encoded: list[Any] = [None if value is None else value.encode() for value in values]
            result = libpq.exec_prepared(name.encode(), encoded)
        self._rows = self._read(result)

    def _prepare(self, statement: str) -> str:
        """Return the name of a statement on this connection, and plan it the first time."""
        names = _names.setdefault(self.connection, {})
        if statement not in names:
            if len(names) >= MAX_STATEMENTS:
                forgotten = names.pop(next(iter(names)))
                self._read(self.connection.pgconn.exec_(f"DEALLOCATE {forgotten}".encode()))
            name = f"codelab_{next(_numbers)}"
            self._read(self.connection.pgconn.prepare(name.encode(), statement.encode()))
            names[statement] = name
        return names[statement]

    def _read(self, result: Any) -> list[tuple[Any, ...]]:
        if result.status == ExecStatus.TUPLES_OK:
            transformer = Transformer(self.connection)
            transformer.set_pgresult(result)
            return transformer.load_rows(0, result.ntuples, tuple)
        if result.status == ExecStatus.COMMAND_OK:
            return []
        if self.connection.pgconn.status == ConnStatus.BAD and not result.error_field(ord("C")):
            raise OperationalError("the connection is lost")
        raise errors.error_from_result(result)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""
        return self._rows

    def close(self) -> None:
        """Do nothing: the cursor holds no resources."""


def _text(value: Any) -> str | None:
    """Return a parameter as PostgreSQL reads it."""
    if isinstance(value, list):
        value = f"{{{','.join(map(_element, value))}}}"
    if value is not None and "\x00" in value:
        # As the driver says it. In libpq the text would end there.
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value


def _element(value: str | None) -> str:
    return "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(value: str | None) -> str:
    if value is None:
        return "NULL"
    quoted = value.replace("'", "''")
    # The same with any `standard_conforming_strings`.
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"
