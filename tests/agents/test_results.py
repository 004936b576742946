"""What a model reads of a tool's result, and what people are told of it."""

from __future__ import annotations

from typing import Any

import pytest

from agents.results import MAX_DIFF_CHARACTERS, cut_middle, facts_for, facts_of, text_of
from agents.tools import ToolKind

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("result", "parts", "error", "is_error", "text"),
    [
        (None, [], None, False, "Tool executed successfully"),
        ({"a": "é"}, [], None, False, '{"a": "é"}'),
        ("text", [], None, False, '"text"'),
        (0, [], None, False, "0"),
        (None, ["one", "", "two"], None, False, "one\n\ntwo"),
        ({"a": 1}, ["one"], None, False, '{"a": 1}\n\none'),
        (None, ["no such issue"], None, True, "Error: no such issue"),
        (None, ["Error: no such issue"], None, True, "Error: no such issue"),
        (None, [], None, True, "Error: the tool failed and gave no reason."),
        ({"a": 1}, ["one"], "it does not exist", False, "Error: it does not exist"),
        (None, [], "", True, "Error: "),
    ],
)
def test_the_text_for_the_model(result: Any, parts: list[str], error: str | None, is_error: bool, text: str) -> None:
    assert text_of(result, parts, error=error, is_error=is_error) == text


def test_a_long_text_is_cut_in_the_middle_with_a_word_about_it() -> None:
    text = "a" * 50_000 + "b" * 50_000
    cut = cut_middle(text, 9_000)
    assert cut == f"{'a' * 6000}\n[… 91,000 of 100,000 characters left out …]\n{'b' * 3000}"
    assert cut_middle(text, 100_000) == text


def test_facts_are_taken_where_they_are_what_they_should_be() -> None:
    result = {"exit_code": 2, "sha256_before": None, "sha256_after": HASH.upper(), "diff": "-a\n+b\n", "other": 1}
    assert facts_of(result) == {"exit_code": 2, "sha256_after": HASH, "diff": "-a\n+b\n"}
    wrong: list[Any] = [
        None,
        "text",
        [1],
        {"exit_code": "2", "diff": 1, "sha256_after": "abc"},
        {"exit_code": True, "diff": ""},
        {"exit_code": 2**40},
        {"exit_code": 1.5},
    ]
    assert not any(map(facts_of, wrong))
    long = facts_of({"diff": "+\x00line\n" * 10_000})["diff"]
    assert len(long) < MAX_DIFF_CHARACTERS + 100
    assert "\x00" not in long
    assert "left out" in long


def test_the_kind_of_the_tool_decides_which_facts_count() -> None:
    facts = {"exit_code": 0, "diff": "x", "sha256_after": HASH}
    assert facts_for(ToolKind.COMMAND, facts) == {"exit_code": 0}
    assert facts_for(ToolKind.EDIT, facts) == {"diff": "x", "sha256_after": HASH}
    assert facts_for(ToolKind.OTHER, facts) == facts
    # The diff that `git_diff` shows is not its own change.
    assert facts_for(ToolKind.READ, facts) == facts_for(None, facts) == {}
