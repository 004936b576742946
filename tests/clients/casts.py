"""Casts as strict as in the clients' languages: a wrong type or a missing value raises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

type Parse = Callable[[Any], Any]
type Fields = dict[str, Parse]


def text(value: Any) -> str:
    assert isinstance(value, str), f"{value!r} is not a string"
    return value


def number(value: Any) -> float:
    # Not isinstance: a boolean would pass.
    assert type(value) in (int, float), f"{value!r} is not a number"
    return float(value)


def integer(value: Any) -> int:
    assert type(value) is int, f"{value!r} is not an integer"
    return value


def boolean(value: Any) -> bool:
    assert isinstance(value, bool), f"{value!r} is not a boolean"
    return value


def mapping(value: Any) -> dict[str, Any]:
    assert isinstance(value, dict), f"{value!r} is not an object"
    return value


def moment(value: Any) -> datetime:
    return datetime.fromisoformat(text(value))


def listed(parse: Parse) -> Parse:
    def all_of(value: Any) -> list[Any]:
        assert isinstance(value, list), f"{value!r} is not a list"
        return [parse(each) for each in value]

    return all_of


def all_are(parse: Parse, *names: str) -> Fields:
    """Return fields that all have one type."""
    return dict.fromkeys(names, parse)


def parsed(data: Any, *, required: Fields, optional: dict[str, Parse] | None = None) -> dict[str, Any]:
    """Return the fields that a client reads; an optional one may be missing or null."""
    found = mapping(data)
    for name in required:
        assert name in found, f"{name} is missing in {found}"
    values = {name: parse(found[name]) for name, parse in required.items()}
    for name, parse in (optional or {}).items():
        values[name] = None if found.get(name) is None else parse(found[name])
    return values


def token(data: Any) -> dict[str, Any]:
    """Parse an answer of the token endpoint as the editor and the benchmark client do."""
    required: Fields = {"access_token": text, "refresh_token": text, "token_type": text, "expires_in": integer}
    return parsed(data, required=required, optional={"scope": text, "issued_at": text})
