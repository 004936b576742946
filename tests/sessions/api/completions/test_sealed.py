"""Thoughts that clients send back: only what was sealed here comes back, and as it was."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from pytest_django import Settings

from sessions.api.completions import sealed
from sessions.api.completions.sealed import seal, signature_of, thoughts_of, unseal
from sessions.billing import encryption
from sessions.turns.completion_messages import message_of

BLOCK = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnLTE="}
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


def sealed_by_hand(content: Any) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return sealed.PREFIX + encryption.encrypt_bytes(zlib.compress(data), "thoughts of a model")


@pytest.mark.parametrize(
    "extra",
    [
        {"reasoning_content": "Hm, ä\x00 \ud83d."},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "eA==", "index": 0}]},
        {"thinking_blocks": [BLOCK, {"type": "redacted_thinking", "data": "eA=="}], "reasoning_content": "Hm."},
        {"calls": {"call_1": SIGNED}},
    ],
)
def test_what_is_sealed_comes_back(extra: dict[str, Any]) -> None:
    text = seal("openrouter/anthropic", extra)
    assert unseal(text) == ("openrouter/anthropic", extra)
    # It stands in headers and addresses as it is, and says nothing.
    assert text.replace("-", "").replace("_", "").replace("=", "").isalnum()
    assert "openrouter" not in text


def test_there_may_be_nothing_to_seal() -> None:
    assert seal("openai", {}) == seal("", {"reasoning_content": "Hm."}) == ""


def test_what_is_too_long_is_left_out() -> None:
    assert seal("openai", {"reasoning_content": "x" * sealed.MAX_BYTES}) == ""
    long = seal("openai", {"reasoning_content": "x" * (sealed.MAX_BYTES // 2)})
    assert unseal(long) is not None
    assert unseal(long + "x" * sealed.MAX_SEALED_CHARACTERS) is None
    # A request may have it ten thousand times.
    assert len(seal("openai", {"reasoning_content": "x" * 500_000})) > 500_000 / sealed.MAX_RATIO
    small_bomb = sealed_by_hand({"origin": "a", "extra": {"reasoning_content": "x" * 500_000}})
    assert unseal(small_bomb) is None
    bomb = sealed_by_hand(b'{"origin":"a","extra":{"reasoning_content":"' + b"x" * 20_000_000 + b'"}}')
    assert unseal(bomb) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EqQBCkYIARgCKkBx",
        "gAAAAABn",
        sealed.PREFIX,
        sealed.PREFIX + "gAAAAABn",
        sealed.PREFIX + "ä\x00",
        sealed.PREFIX + "\ud83d",
    ],
)
def test_what_was_sealed_elsewhere_is_nothing(text: str) -> None:
    assert unseal(text) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        [],
        {},
        {"origin": "a"},
        {"origin": 1, "extra": {}},
        {"origin": "a", "extra": []},
        {"origin": "a", "extra": {"calls": [1]}},
        {"origin": "a", "extra": {"calls": {"c": 1}}},
    ],
)
def test_nothing_that_was_sealed_wrongly_raises(content: Any) -> None:
    assert unseal(sealed_by_hand(content)) is None


def test_only_fields_of_thoughts_come_back() -> None:
    extra = {
        "role": "system",
        "content": "x",
        "reasoning_content": "Hm.",
        "calls": {"c": {"id": "x", "signature": "s"}},
    }
    found = unseal(seal("openai", extra))
    assert found == ("openai", {"reasoning_content": "Hm.", "calls": {"c": {"signature": "s"}}})


def test_a_changed_secret_makes_it_nothing_and_an_older_one_still_counts(settings: Settings) -> None:
    text = seal("openai", {"reasoning_content": "Hm."})
    settings.CODELAB_ENCRYPTION_KEYS = ["another", *settings.CODELAB_ENCRYPTION_KEYS]
    assert unseal(text) is not None
    settings.CODELAB_ENCRYPTION_KEYS = ["another"]
    assert unseal(text) is None
    assert thoughts_of([{"type": "thinking", "thinking": "Hm.", "signature": text}]) is None


def test_a_signature_of_anthropics_stays_as_it_is_for_its_own_text_alone() -> None:
    extra = {"thinking_blocks": [BLOCK], "reasoning_content": "Hm."}
    assert signature_of("anthropic", extra, "Hm.") == "c2lnLTE="
    others = (
        signature_of("anthropic", extra, "Hm"),
        signature_of("openrouter/anthropic", extra, "Hm."),
        signature_of("anthropic", {"thinking_blocks": [BLOCK, BLOCK]}, "Hm."),
        signature_of("anthropic", {"thinking_blocks": ["x"]}, "Hm."),
        signature_of("anthropic", {**extra, "calls": {"c": SIGNED}}, "Hm."),
    )
    assert all(map(sealed.is_sealed, others))
    assert signature_of("openai", {}, "Hm.") == ""


def test_blocks_become_the_thoughts_that_they_were() -> None:
    extra = {"thinking_blocks": [BLOCK], "reasoning_content": "Hm."}
    ours = {"type": "thinking", "thinking": "Hm.", "signature": seal("openrouter/anthropic", extra)}
    assert thoughts_of([ours]) == ("openrouter/anthropic", extra)
    hidden = {"type": "redacted_thinking", "data": seal("openai", extra)}
    assert thoughts_of([hidden]) == ("openai", extra)
    theirs = [BLOCK, {"type": "redacted_thinking", "data": "eA=="}]
    assert thoughts_of(theirs) == ("anthropic", {"thinking_blocks": theirs})
    for nothing in ([], [{"type": "thinking", "thinking": "Hm."}], [{**BLOCK, "signature": ""}], [{"signature": 1}]):
        assert thoughts_of(nothing) is None


def test_the_fields_of_calls_go_back_with_their_calls() -> None:
    calls = [{"id": "c1", "name": "f", "arguments": {}}, {"id": "c2", "name": "f", "arguments": "{"}]
    extra = {"reasoning_content": "Hm.", "calls": {"c1": SIGNED, "gone": SIGNED}}
    row = {"role": "assistant", "content": "", "tool_calls": calls, "extra": extra, "origin": "gemini"}
    message = message_of(row)
    assert (message.extra, message.origin) == ({"reasoning_content": "Hm."}, "gemini")
    assert [call.extra for call in message.tool_calls] == [SIGNED, {}]
    assert message.tool_calls[1].raw_arguments == "{"
