"""Answers of the Messages API, and its errors."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sessions.api.completions.errors import CompletionError, invalid
from sessions.api.completions.sealed import unseal
from sessions.api.completions.turn_follower import End, Piece, Retracted, Text
from sessions.api.messages.blocks import UNSIGNED
from sessions.api.messages.errors import body_of, status_of
from sessions.api.messages.responses import MessageWriter, message
from sessions.api.messages.schemas import MessagesRequest
from sessions.turns.completions import TurnResult

TURN = uuid.UUID(int=1)
RESULT = TurnResult(
    finish_reason="stop", input_tokens=100, output_tokens=9, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=4
)
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 60,
    "output_tokens": 9,
    "output_tokens_details": {"thinking_tokens": 4},
}
CALL = {"id": "c1", "name": "weather", "arguments": {"city": "Riga"}}


def end(reason: str = "stop", calls: Sequence[dict[str, Any]] = (), **fields: Any) -> End:
    return End(reason, replace(RESULT, **fields), calls)


class Counted:
    """The tokens of an input, which are known."""

    def __await__(self) -> Generator[None, None, int]:
        yield from ()
        return 7


def events(*pieces: Piece, shows_thinking: bool = True) -> list[dict[str, Any]]:
    writer = MessageWriter(TURN, "m", input_tokens=Counted(), shows_thinking=shows_thinking)
    return read(asyncio.run(writer.begin()) + "".join(map(writer.write, pieces)))


def read(stream: str) -> list[dict[str, Any]]:
    found = []
    for each in stream.split("\n\n")[:-1]:
        name, data = each.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def assemble(stream: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put a stream together as clients do, and check the order of its events."""
    assert (stream[0]["type"], stream[-1]["type"]) == ("message_start", "message_stop")
    whole: dict[str, Any] = dict(stream[0]["message"])
    blocks: list[dict[str, Any]] = []
    is_open = False
    for each in stream[1:-1]:
        match each["type"]:
            case "content_block_start":
                assert not is_open
                assert each["index"] == len(blocks)
                blocks.append(dict(each["content_block"]))
                is_open = True
            case "content_block_delta":
                assert is_open
                assert each["index"] == len(blocks) - 1
                delta = dict(each["delta"])
                kind = delta.pop("type").removesuffix("_delta")
                (piece,) = delta.values()
                blocks[-1][kind] = blocks[-1].get(kind, "") + piece
            case "content_block_stop":
                assert is_open
                assert each["index"] == len(blocks) - 1
                is_open = False
            case "message_delta":
                assert not is_open
                whole |= {**each["delta"], "usage": each["usage"]}
    for block in blocks:
        if "input_json" in block:
            block["input"] = json.loads(block.pop("input_json"))
    return {**whole, "content": blocks}


def test_a_stream_begins_with_the_tokens_of_its_input() -> None:
    (start,) = events()
    assert start["message"] == {
        "id": f"msg_{TURN.hex}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }


@pytest.mark.parametrize(
    ("pieces", "content"),
    [
        ([Text("a", "Hel"), Text("a", "lo.")], [{"type": "text", "text": "Hello."}]),
        (
            [Text("a", "Hm.", is_reasoning=True), Text("a", "Hello.")],
            [{"type": "thinking", "thinking": "Hm.", "signature": UNSIGNED}, {"type": "text", "text": "Hello."}],
        ),
        ([], []),
    ],
)
def test_a_stream_and_a_whole_answer_are_the_same(pieces: list[Text], content: list[Any]) -> None:
    whole = message(pieces, end(), TURN, "m", shows_thinking=True)
    assert assemble(events(*pieces, end())) == whole
    assert whole["content"] == content
    assert (whole["stop_reason"], whole["stop_sequence"], whole["usage"]) == ("end_turn", None, USAGE)


def test_calls_follow_the_text() -> None:
    pieces = [Text("a", "Let me look.")]
    broken = {"id": "c2", "name": "weather", "arguments": '{"city": "Ri'}
    last = end("tool_calls", [CALL, broken])
    whole = message(pieces, last, TURN, "m", shows_thinking=False)
    assert assemble(events(*pieces, last)) == whole
    assert whole["stop_reason"] == "tool_use"
    assert whole["content"][1:] == [
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Riga"}},
        {"type": "tool_use", "id": "c2", "name": "weather", "input": {"INVALID_JSON": '{"city": "Ri'}},
    ]


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [(None, False), ({"type": "disabled"}, False), ({"type": "adaptive", "display": "omitted"}, False)]
    + [({"type": kind}, True) for kind in ("adaptive", "enabled", "between_tools")],
)
def test_clients_ask_for_thoughts(thinking: Any, expected: bool) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "thinking": thinking}
    assert MessagesRequest.model_validate(body).shows_thinking is expected


def test_thoughts_are_shown_to_clients_that_ask_for_them() -> None:
    pieces = [Text("a", "Hm.", is_reasoning=True), Text("a", "Hello.")]
    assert assemble(events(*pieces, end(), shows_thinking=False))["content"] == [{"type": "text", "text": "Hello."}]
    assert message(pieces, end(), TURN, "m", shows_thinking=False)["content"] == [{"type": "text", "text": "Hello."}]


@pytest.mark.parametrize("shows_thinking", [True, False])
def test_a_stream_ends_with_what_the_provider_wants_back(shows_thinking: bool) -> None:
    pieces = [Text("a", "Hm.", is_reasoning=True), Text("a", "So.")]
    extra = {"reasoning_content": "Hm.", "reasoning_details": [{"data": "x"}]}
    last = end("tool_calls", [CALL], extra=extra, origin="deepseek")
    *_, sealed, call = assemble(events(*pieces, last, shows_thinking=shows_thinking))["content"]
    assert (sealed["type"], call["type"]) == ("redacted_thinking", "tool_use")
    assert unseal(sealed["data"]) == ("deepseek", extra)
    whole = message([], last, TURN, "m", shows_thinking=False)["content"]
    assert [block["type"] for block in whole] == ["redacted_thinking", "tool_use"]
    assert unseal(whole[0]["data"]) == ("deepseek", extra)


def test_a_whole_answer_has_signatures() -> None:
    pieces = [Text("a", "Hm.", is_reasoning=True), Text("a", "So.")]
    extra = {"reasoning_content": "Hm."}
    whole = message(pieces, end(extra=extra, origin="deepseek"), TURN, "m", shows_thinking=True)
    assert unseal(whole["content"][0]["signature"]) == ("deepseek", extra)
    own = {"type": "thinking", "thinking": "Hm.", "signature": "real"}
    last = end("tool_calls", [CALL], extra={"thinking_blocks": [own]}, origin="anthropic")
    content = message(pieces, last, TURN, "m", shows_thinking=True)["content"]
    assert content[0] == own
    assert [block["type"] for block in content[1:]] == ["text", "tool_use"]


@pytest.mark.parametrize(
    ("reason", "stop", "expected"),
    [
        ("length", "", ("max_tokens", None)),
        ("content_filter", "", ("refusal", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("something", "", ("end_turn", None)),
    ],
)
def test_the_reason_of_the_end_is_told(reason: str, stop: str, expected: tuple[str, str | None]) -> None:
    whole = message([], end(reason, stop=stop), TURN, "m", shows_thinking=False)
    assert (whole["stop_reason"], whole["stop_sequence"]) == expected


def test_an_answer_that_began_again_fails_only_where_the_client_has_seen_it() -> None:
    events(Retracted(["a"]), Text("b", "Hi."), end())
    events(Text("a", "Hm.", is_reasoning=True), Retracted(["a"]), shows_thinking=False)
    with pytest.raises(CompletionError) as caught:
        events(Text("a", "Hi."), Retracted(["a"]))
    (failure,) = read(MessageWriter(TURN, "m", input_tokens=Counted(), shows_thinking=False).fail(caught.value))
    assert failure["error"]["type"] == "overloaded_error"
    assert failure["error"]["details"] == {"error_code": "answer_restarted"}


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("invalid_field", 400, "invalid_request_error"),
        ("method_not_allowed", 405, "invalid_request_error"),
        ("not_signed_in", 401, "authentication_error"),
        ("model_out_of_credit", 402, "billing_error"),
        ("insufficient_scope", 403, "permission_error"),
        ("model_not_found", 404, "not_found_error"),
        ("body_too_large", 413, "request_too_large"),
        ("rate_limited", 429, "rate_limit_error"),
        ("budget_exhausted", 429, "rate_limit_error"),
        ("internal_error", 500, "api_error"),
        ("model_error", 500, "api_error"),
        ("model_unavailable", 529, "overloaded_error"),
        ("shutting_down", 529, "overloaded_error"),
        ("model_timed_out", 504, "timeout_error"),
    ],
)
def test_errors_have_anthropics_statuses_and_types(code: str, status: int, kind: str) -> None:
    error = CompletionError(code, "No.")
    body = body_of(error)
    assert (status_of(error), body["type"], body["error"]["type"]) == (status, "error", kind)
    assert body["error"]["details"]["error_code"] == code


def test_an_error_names_its_field_once() -> None:
    assert body_of(invalid("tools.0", "No."))["error"]["message"] == "tools.0: No."
    assert body_of(invalid("tools.0", "`tools.0` is wrong."))["error"]["message"] == "`tools.0` is wrong."


@pytest.mark.parametrize(
    ("used", "window", "text"),
    [
        (9_000, 8_192, "prompt is too long: 9000 tokens > 8192 maximum"),
        (8_000, 8_192, "prompt is too long: 8193 tokens > 8192 maximum"),
        (0, 0, "prompt is too long. Too long."),
    ],
)
def test_an_overflow_has_the_words_that_clients_look_for(used: int, window: int, text: str) -> None:
    error = CompletionError("model_context_too_long", "Too long.")
    error.used, error.window = used, window
    assert body_of(error)["error"]["message"] == text
