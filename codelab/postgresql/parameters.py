"""Values as the texts that PostgreSQL reads in the place of a statement's parameters.

The driver sends small and large numbers, and NULL, as different types, and a statement would be planned again for each
combination. A text has the type of its place.
"""

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Binary, DataError
from psycopg.types.json import Jsonb


def text_of(value: Any) -> str | None:
    """Return a parameter as a text, or None for NULL. Raises DataError as the driver does, and TypeError."""
    write = _WRITERS.get(type(value)) or _find_writer(value)
    text: str | None = write(value)
    return text


def literal(text: str | None) -> str:
    """Return a text as it stands in a statement."""
    if text is None:
        return "NULL"
    quoted = text.replace("'", "''")
    # The same with any `standard_conforming_strings`.
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def _write_null(_value: None) -> None:
    return None


def _write_text(value: str) -> str:
    if "\x00" in value:
        # As the driver says it. In libpq the text would end there.
        raise DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value


def _write_choice(value: str) -> str:
    return _write_text(str(value))


def _write_bool(value: bool) -> str:
    return "t" if value else "f"


def _write_duration(value: timedelta) -> str:
    return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"


def _write_bytes(value: bytes | memoryview) -> str:
    return "\\x" + value.hex()


def _write_array(values: list[Any]) -> str:
    return f"{{{','.join(_write_element(text_of(value)) for value in values)}}}"


def _write_element(text: str | None) -> str:
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_WRITERS: dict[type[Any], Callable[[Any], str | None]] = {
    type(None): _write_null,
    str: _write_text,
    bool: _write_bool,
    int: str,
    uuid.UUID: str,
    Decimal: str,
    datetime: datetime.isoformat,
    timedelta: _write_duration,
    bytes: _write_bytes,
    memoryview: _write_bytes,
    list: _write_array,
    Binary: lambda value: text_of(value.obj),
    Jsonb: lambda value: json.dumps(value.obj),
}


def _find_writer(value: Any) -> Callable[[Any], str | None]:
    """Return the writer for a value of a type that is derived from one of these, such as the members of choices."""
    if isinstance(value, str):
        return _write_choice
    for base in type(value).__mro__:
        if base in _WRITERS:
            return _WRITERS[base]
    raise TypeError(f"{type(value)} cannot be a parameter")
