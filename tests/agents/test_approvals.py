"""An approval covers exactly the call that the user saw."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.approvals import digest, is_same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)

SHOWN = {"path": "src/main.py", "content": "print(1)\n"}


def test_the_same_call_has_the_same_hash() -> None:
    approved = digest("write_file", SHOWN)
    assert approved == "v1:" + approved.removeprefix("v1:")
    assert len(approved) == 67
    assert is_same(approved, "write_file", dict(reversed(SHOWN.items())))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("apply_diff", SHOWN),
        ("write_file", SHOWN | {"content": "print(2)\n"}),
        ("write_file", SHOWN | {"content": "print(1)"}),
        ("write_file", SHOWN | {"path": "src/Main.py"}),
        ("write_file", SHOWN | {"create_dirs": False}),
        ("write_file", {"path": "src/main.py"}),
        ("write_file", {"path": SHOWN["content"], "content": SHOWN["path"]}),
        ("write_file", SHOWN | {"content": None}),
        ("write_file", {}),
    ],
)
def test_any_change_is_another_call(tool: str, arguments: dict[str, Any]) -> None:
    assert not is_same(digest("write_file", SHOWN), tool, arguments)


def test_kinds_of_values_are_told_apart() -> None:
    hashes = [digest("x", {"a": value}) for value in (1, "1", True, "true", None, "null", [1], {"1": 1}, 1.5, [], {})]
    assert len(set(hashes)) == len(hashes)


def test_a_number_that_a_database_writes_in_another_way_is_the_same() -> None:
    assert digest("x", {"a": 100}) == digest("x", {"a": 1e2})
    assert digest("x", {"a": 0}) == digest("x", {"a": -0.0})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_values_that_json_lacks_have_no_hash(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest("x", {"a": number})


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_a_round_trip_through_json_keeps_the_hash(arguments: dict[str, Any]) -> None:
    assert is_same(digest("x", arguments), "x", json.loads(json.dumps(arguments)))
