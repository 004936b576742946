"""The statements of every turn: prepared, read without the ORM, and what a verb writes in one statement.

The ORM puts the text of a statement together each time, and PostgreSQL plans it each time. Both together took two
thirds of the processor time of a turn (docs/decisions/0040). Here PostgreSQL plans a statement once for each
connection, and a verb writes all its rows in one statement, just before any other statement of its transaction and
before the COMMIT. Models, columns and constraints are those of `sessions.models`. What does not run in every turn uses
the ORM, and sees what was written before it.

Columns are named, never `*`: PostgreSQL refuses a prepared statement whose result a migration has changed.
"""

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from itertools import count
from typing import Any, LiteralString

from django.db import DataError, models, transaction
from django.db import connection as _connection
from django.db.models.expressions import DatabaseDefault
from psycopg.errors import DivisionByZero

connection: Any = _connection


@dataclass(frozen=True, slots=True)
class Sql:
    """An expression in the place of a value, with its parameters."""

    text: LiteralString
    parameters: tuple[Any, ...] = ()


#: The database's clock, as the statement began.
NOW = Sql("statement_timestamp()")


def prepared(statement: LiteralString, *parameters: Any, behind: Sql | None = None) -> list[tuple[Any, ...]]:
    """Run a statement that PostgreSQL plans once for each connection, and return its rows.

    The statement `behind`, a lock, goes before it in the same message. PostgreSQL takes the state that a statement sees
    when that statement begins, so this one sees what was committed until the lock was free.
    """
    first = (_number(behind.text), behind.parameters) if behind else None
    return _run(statement, parameters, first=first)


def _run(statement: LiteralString, parameters: Sequence[Any], **options: Any) -> list[tuple[Any, ...]]:
    with connection.prepared_cursor(**options) as cursor:
        cursor.execute(_number(statement), parameters)
        result: list[tuple[Any, ...]] = cursor.fetchall()
        return result


def width(model: type[models.Model]) -> int:
    """Return how many `columns` a model has."""
    return len(model._meta.concrete_fields)


@cache
def columns(model: type[models.Model], table: str = "") -> LiteralString:
    """Return the columns of a model for `row_of`. `table` is its name in the statement."""
    prefix = f"{table or model._meta.db_table}."
    return ", ".join(f'{prefix}"{field.column}"' for field in model._meta.concrete_fields)


def row_of[M: models.Model](model: type[M], values: Sequence[Any]) -> M:
    """Return a row of a model from the values of its `columns`."""
    names, converters = _converters(model)
    if converters:
        values = list(values)
        for place, convert in converters:
            values[place] = convert(values[place], None, connection)
    return model.from_db("default", names, values)


@cache
def _converters(model: type[models.Model]) -> tuple[tuple[str, ...], list[tuple[int, Callable[..., Any]]]]:
    fields: Sequence[Any] = model._meta.concrete_fields
    converters = [(i, convert) for i, field in enumerate(fields) for convert in field.get_db_converters(connection)]
    return tuple(field.attname for field in fields), converters


@contextmanager
def atomic(deadline: float = math.inf, late: Exception | None = None) -> Iterator[None]:
    """Open a transaction whose writes are sent together: before another statement, or else with the COMMIT.

    With a deadline (of `time.monotonic`) they are not committed after it. Then the error `late` is raised.
    """
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if getattr(_thread, "writes", None) is not None:
            yield
            return
        writes = _thread.writes = _Writes(deadline, late)
        try:
            with connection.execute_wrapper(writes.go_first):
                yield
                writes.send(ends_transaction=is_outermost)
        finally:
            _thread.writes = None


def insert(*rows: models.Model, is_repeatable: bool = False) -> None:
    """Insert rows of models. With `is_repeatable` a row that exists stays as it is."""
    with _writes() as writes:
        for row in rows:
            writes.insert(row, is_repeatable)


def update(row: models.Model, values: Mapping[str, Any], guard: Mapping[str, Any], error: Exception) -> None:
    """Change fields of a row. Raises the error, and writes nothing, unless the columns of `guard` are still the same.

    In `atomic` the error comes with the next statement, or at the end.
    """
    with _writes() as writes:
        writes.update(row, values, guard)
        writes.error = error


def save(row: models.Model, *names: str) -> None:
    """Store fields of a row as they are now."""
    with _writes() as writes:
        writes.update(row, {name: getattr(row, name) for name in names}, {})


def collect(statement: LiteralString, *row: Any) -> None:
    """Add a row to those of an INSERT that takes an array for each column. It sees no row of the other writes."""
    with _writes() as writes:
        writes.collected.setdefault(statement, []).append(row)


def write(statement: LiteralString, *parameters: Any) -> None:
    """Run an INSERT, an UPDATE or a DELETE with the other writes. It sees no row that they write."""
    with _writes() as writes:
        writes.statements.append(Sql(statement, parameters))


_thread = threading.local()
#: Divides by zero when a transaction has taken too long.
_IN_TIME = "SELECT 1 / (clock_timestamp() < transaction_timestamp() + %s::interval)::integer"


@contextmanager
def _writes() -> "Iterator[_Writes]":
    """Return the writes of the transaction under way. Without `atomic` they are sent at once."""
    writes = getattr(_thread, "writes", None)
    if writes is not None:
        yield writes
    else:
        yield (alone := _Writes())
        alone.send()


class _Writes:
    """What is to be written: rows of a model together, and all changes of a row together."""

    def __init__(self, deadline: float = math.inf, late: Exception | None = None) -> None:
        self._deadline, self._late = deadline, late
        #: Before the transaction begins, whose time PostgreSQL compares.
        self._time_left = timedelta(seconds=deadline - time.monotonic()) if late else None
        self._clear()

    def _clear(self) -> None:
        self.rows: dict[tuple[type[models.Model], tuple[tuple[str, str], ...], bool], list[list[Any]]] = {}
        self.changes: dict[tuple[type[models.Model], Any], tuple[dict[str, Any], dict[str, Any]]] = {}
        self.statements: list[Sql] = []
        #: For a guarded update that meets no row.
        self.error: Exception | None = None
        self.collected: dict[LiteralString, list[tuple[Any, ...]]] = {}

    def insert(self, row: models.Model, is_repeatable: bool) -> None:
        names: list[tuple[str, str]] = []
        values: list[Any] = []
        fields: Sequence[Any] = row._meta.concrete_fields
        for field in fields:
            value = field.pre_save(row, True)
            if isinstance(value, DatabaseDefault):
                if hasattr(field.db_default, "resolve_expression"):
                    continue
                value = field.db_default
                setattr(row, field.attname, value)
            is_expression = isinstance(value, Sql)
            names.append((field.column, value.text if is_expression else "%s"))
            values += value.parameters if is_expression else (_prepare(field, value),)
        self.rows.setdefault((type(row), tuple(names), is_repeatable), []).append(values)
        row._state.adding, row._state.db = False, "default"

    def update(self, row: models.Model, values: Mapping[str, Any], guard: Mapping[str, Any]) -> None:
        model = type(row)
        changes, guards = self.changes.setdefault((model, row.pk), ({}, {}))
        for name, value in values.items():
            field: Any = model._meta.get_field(name)
            changes[field.column] = value if isinstance(value, Sql) else _prepare(field, value)
        guards |= guard

    def go_first(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Send the writes before another statement (a wrapper of `connection.execute_wrapper`)."""
        if sql.startswith("ROLLBACK"):
            # To a savepoint, which follows all writes that were sent.
            self._clear()
        self.send()
        return execute(sql, params, many, context)

    def send(self, *, ends_transaction: bool = False) -> None:
        """Write everything in one statement."""
        if not (self.rows or self.changes or self.collected or self.statements):
            return
        parts: list[tuple[Any, ...]] = []
        values: list[Any] = []
        for (model, names, is_repeatable), rows in self.rows.items():
            parts.append((_insert, model, names, len(rows), is_repeatable))
            values += (value for row in rows for value in row)
        for (model, pk), (changes, guards) in self.changes.items():
            shape = tuple((name, value.text if isinstance(value, Sql) else "%s") for name, value in changes.items())
            parts.append((_update, model, shape, tuple(guards)))
            for value in changes.values():
                values += value.parameters if isinstance(value, Sql) else (value,)
            values += (pk, *guards.values())
        for text, collected in self.collected.items():
            parts.append((_as_it_is, text))
            values += map(list, zip(*collected, strict=True))
        for statement in self.statements:
            parts.append((_as_it_is, statement.text))
            values += statement.parameters
        guarded = tuple(place for place, (_, guards) in enumerate(self.changes.values(), len(self.rows)) if guards)
        stale = self.error
        self._clear()
        joined = _join(tuple(parts), guarded)
        try:
            if self._time_left and ends_transaction:
                _run(_IN_TIME, (self._time_left,), first=(_number(joined), values), commit=True)
            else:
                _run(joined, values, commit=ends_transaction)
        except DataError as error:
            if not isinstance(error.__cause__, DivisionByZero):
                raise
            if self._late and time.monotonic() > self._deadline:
                raise self._late from error
            if stale is None:
                raise
            raise stale from error


@lru_cache(maxsize=512)
def _join(parts: tuple[tuple[Any, ...], ...], guarded: tuple[int, ...]) -> LiteralString:
    """Return one statement of several that write. It divides by zero when one of the guarded ones changes no row."""
    bodies = [f"w{i} AS ({part[0](*part[1:])}{' RETURNING 1' * (i in guarded)})" for i, part in enumerate(parts)]
    checks = ", ".join(f"1 / (SELECT count(*) FROM w{i})" for i in guarded)
    return f"WITH {', '.join(bodies)} SELECT {checks}"


def _insert(model: type[models.Model], shape: Sequence[tuple[str, str]], rows: int, is_repeatable: bool) -> str:
    row = f"({', '.join(text for _, text in shape)})"
    columns = ", ".join(f'"{name}"' for name, _ in shape)
    text = f"INSERT INTO {model._meta.db_table} ({columns}) VALUES {', '.join([row] * rows)}"
    return f"{text} ON CONFLICT DO NOTHING" if is_repeatable else text


def _update(model: type[models.Model], shape: Sequence[tuple[str, str]], guards: Sequence[str]) -> str:
    changes = ", ".join(f'"{name}" = {text}' for name, text in shape)
    conditions = " AND ".join(f'"{name}" = %s' for name in ("id", *guards))
    return f"UPDATE {model._meta.db_table} SET {changes} WHERE {conditions}"


def _as_it_is(text: str) -> str:
    return text


def _prepare(field: Any, value: Any) -> Any:
    is_plain = value is None or (type(value) in _PLAIN and not isinstance(field, models.JSONField))
    return value if is_plain else field.get_db_prep_save(value, connection)


@lru_cache(maxsize=512)
def _number(statement: LiteralString) -> LiteralString:
    """Return a statement with PostgreSQL's own placeholders: `$1` instead of `%s`."""
    first, *rest = statement.split("%s")
    return first + "".join(f"${i}{text}" for i, text in zip(count(1), rest, strict=False))


#: Types of values that need no preparation by their field.
_PLAIN = frozenset({str, int, bool, uuid.UUID, datetime, timedelta})
