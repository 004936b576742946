"""What providers call the end of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from llm import finish
from llm.errors import ModelTruncated, ModelUnavailable


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("FinishReason.STOP", "stop"),
        ("FINISH_REASON_STOP", "stop"),
        ("end_turn", "stop"),
        ("endTurn", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("max-tokens", "length"),
        ("model_length", "length"),
        ("model_context_window_exceeded", "length"),
        ("context_length_exceeded", "length"),
        ("content_filter", "content_filter"),
        ("contentFiltered", "content_filter"),
        ("sensitive", "content_filter"),
        ("SAFETY", "content_filter"),
        ("refusal", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("tool-calls", "tool_calls"),
        ("tool_use", "tool_calls"),
        ("function_call", "tool_calls"),
        ({"type": "stop"}, "stop"),
    ],
)
@pytest.mark.parametrize("has_output", [True, False])
def test_one_word_for_one_ending(reason: Any, word: str, has_output: bool) -> None:
    assert finish.judge(reason, has_output=has_output) == word


@pytest.mark.parametrize(
    "reason",
    [
        "error",
        "network_error",
        "insufficient_system_resource",
        "malformed_function_call",
        "MALFORMED_FUNCTION_CALL",
        "abort",
        "cancelled",
        "engine_crashed",
        "upstream_timeout",
        "internal-error",
        "OTHER",
    ],
)
def test_a_failure_is_not_an_ending(reason: str) -> None:
    with pytest.raises(ModelUnavailable):
        finish.judge(reason, has_output=False)
    with pytest.raises(ModelTruncated):
        finish.judge(reason, has_output=True)


def test_an_unknown_word_ends_only_an_answer_that_has_something() -> None:
    assert finish.judge("zzz", has_output=True) == "stop"
    with pytest.raises(ModelUnavailable):
        finish.judge("zzz", has_output=False)


def test_no_word_is_in_the_table_twice() -> None:
    words = [word for words in finish.WORDS.values() for word in words.split()]
    assert len(set(words)) == len(words)
