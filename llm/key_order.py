"""Keeps the order of keys in JSON that models and clients see: models write their answers in the order of a schema.

PostgreSQL's `jsonb` has an order of its own: shorter keys first. The order of a value is stored beside it as an
outline, which has the keys of the objects that `jsonb` would order differently, and no values.
"""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any


def outline(value: Any) -> Any:
    """Return the keys of a value's objects in their order, as nested JSON, or None where `jsonb` has the same order."""
    if isinstance(value, Mapping):
        inner = {key: outline(each) for key, each in value.items()}
        return inner if any(inner.values()) or list(inner) != sorted(inner, key=_jsonb_order) else None
    if isinstance(value, list | tuple):
        items = [outline(each) for each in value]
        return items if any(items) else None
    return None


def arrange(value: Any, like: Any) -> Any:
    """Return the value with its keys in the order that they have in an outline, or in another value.

    The other one decides about nothing but the order: keys that it does not have come last.
    """
    if isinstance(value, dict) and isinstance(like, Mapping):
        keys = [*(key for key in like if key in value), *(key for key in value if key not in like)]
        return {key: arrange(value[key], like.get(key)) for key in keys}
    if isinstance(value, list) and isinstance(like, list):
        return [arrange(each, other) for each, other in zip_longest(value, like[: len(value)])]
    return value


def _jsonb_order(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return len(encoded), encoded
