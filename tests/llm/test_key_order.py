"""The order of keys that `jsonb` loses and an outline restores."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.key_order import arrange, outline

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def as_jsonb(value: Any) -> Any:
    """Return what PostgreSQL returns for a value: shorter keys first, then by their bytes."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return {key: as_jsonb(value[key]) for key in keys}
    return [as_jsonb(each) for each in value] if isinstance(value, list) else value


@given(JSON)
def test_the_order_comes_back(value: Any) -> None:
    order = json.loads(json.dumps(outline(value)))
    assert json.dumps(arrange(as_jsonb(value), order)) == json.dumps(value)
    assert (order is None) == (json.dumps(as_jsonb(value)) == json.dumps(value))


@given(JSON, JSON)
def test_another_order_changes_no_value(value: Any, other: Any) -> None:
    assert arrange(value, other) == value
    assert arrange(value, outline(other)) == value


@pytest.mark.parametrize(
    ("value", "like", "arranged"),
    [
        ({"a": 1, "b": 2, "c": 3}, {"c": 0, "a": 0, "gone": 0}, '{"c": 3, "a": 1, "b": 2}'),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 2}], [{"b": 0, "a": 0}], '[{"b": 2, "a": 1}, {"a": 1, "b": 2}]'),
        ([{"a": 1}], [None, {"b": 0}], '[{"a": 1}]'),
    ],
)
def test_what_the_order_does_not_name_comes_last(value: Any, like: Any, arranged: str) -> None:
    assert json.dumps(arrange(value, like)) == arranged
