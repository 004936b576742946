"""One answer in the forms in which servers send it: each is read as the answer it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm.errors import (
    ModelAnswerTooLong,
    ModelContextTooLong,
    ModelError,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
)
from llm.types import TextChunk, TokenUsage
from tests.llm.parsed import answer_of, chunks_of
from tests.llm.recorded import DONE, ending, event, text, usage


def choice(**fields: Any) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, **fields}]})}\n\n".encode()


def call(arguments: Any = None, name: Any = "f", **fields: Any) -> dict[str, Any]:
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    return {"type": "function", "function": function, **fields}


def calls(*each: dict[str, Any], end: str | None = None) -> bytes:
    return event({"tool_calls": list(each)}, end=end)


END = ending()
BYTES = b"".join([*text("one ", "two"), *END])

WORDS: dict[str, bytes] = {
    "as documented": BYTES,
    "byte order mark": b"\xef\xbb\xbf" + BYTES,
    "byte order mark in the middle": b"".join([*text("one "), b"\xef\xbb\xbf", *text("two"), *END]),
    "\\r\\n": BYTES.replace(b"\n", b"\r\n"),
    "\\r": BYTES.replace(b"\n", b"\r"),
    "one line end": BYTES.replace(b"\n\n", b"\n"),
    "one \\r\\n": BYTES.replace(b"\n\n", b"\r\n"),
    "no space behind the colon": BYTES.replace(b"data: ", b"data:"),
    "spaces before data": BYTES.replace(b"data: ", b"  data: "),
    "no field name": BYTES.replace(b"data: ", b""),
    "no field name, one line end": BYTES.replace(b"data: ", b"").replace(b"\n\n", b"\n"),
    "no last line end": BYTES.rstrip(),
    "no [DONE] and no last line end": BYTES.replace(DONE, b"").rstrip(),
    "signs of life": b"".join(
        [
            b"data:\n\ndata: \n\n: comment\n\nevent: ping\ndata: {}\n\n",
            text("one ")[0],
            b'data: {"type": "ping"}\n\ndata: null\n\ndata: ping\n\ndata: {"status": "processing", "message": "x"}\n\n',
            *text("two"),
            b"data\n\nid: 7\nretry: 10\n\n",
            *END,
        ]
    ),
    "named events": BYTES.replace(b"data: ", b"event: message\nid: 1\ndata: "),
    "null everywhere": b"".join(
        [
            event(None, choices=None, usage=None, error=None),
            choice(delta=None, message=None, finish_reason=None, logprobs=None),
            event({"role": None, "content": None, "tool_calls": None, "reasoning": None, "refusal": None}),
            *text("one ", "two"),
            *END,
        ]
    ),
    "message instead of delta": choice(message={"content": "one "})
    + choice(message={"content": "two"})
    + b"".join(END),
    "message beside a null delta": choice(delta=None, message={"content": "one two"}) + b"".join(END),
    "text instead of delta": choice(text="one ") + choice(text="two") + b"".join(END),
    "a message that repeats the whole": b"".join(text("one ", "two"))
    + choice(delta={}, message={"role": "assistant", "content": "one two"}, finish_reason="stop")
    + DONE,
    "the reason within the delta": choice(delta={"content": "one two"}) + choice(delta={"finish_reason": "stop"}),
    "one choice without a list": b'data: {"choices": {"delta": {"content": "one two"}, "finish_reason": "stop"}}\n\n',
    "one choice by its number": b'data: {"choices": {"0": {"delta": {"content": "one two"}}}}\n\n' + b"".join(END),
    "content as parts": event({"content": [{"type": "text", "text": "one "}, {"type": "reference", "ids": [1]}]})
    + event({"content": [{"type": "output_text", "text": "two"}]})
    + b"".join(END),
    "content as one part": event({"content": {"type": "text", "text": "one two"}}) + b"".join(END),
    "an end marker with each event": event({"content": "one "}, end="stop") + event({"content": "two"}, end="stop"),
    "the word null as an end marker": event({"content": "one "}, end="null") + b"".join([*text("two"), *END]),
    "usage first": event(usage=usage()) + b"".join([*text("one ", "two"), event({}, end="stop"), DONE]),
    "one JSON object": json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": "one two"}, "finish_reason": "stop"}]}
    ).encode(),
    "one JSON object on many lines": json.dumps(
        {"choices": [{"message": {"role": "assistant", "content": "one two"}, "finish_reason": "stop"}]}, indent=2
    ).encode(),
    "one JSON object without an end marker": json.dumps(
        {"object": "chat.completion", "choices": [{"message": {"content": "one two"}, "finish_reason": None}]}
    ).encode(),
    "a list of events": b"["
    + b",\n".join(each[6:].strip() for each in [*text("one ", "two"), *END] if each != DONE)
    + b"]",
    "Ollama's own form": b'{"message": {"content": "one "}, "done": false}\n'
    b'{"message": {"content": "two"}, "done": false}\n'
    b'{"message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5}\n',
    "only [DONE]": b"".join([*text("one ", "two"), DONE]),
    "a refusal": event({"refusal": "one "}) + event({"refusal": "two"}) + b"".join(END),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_are_read_in_every_form(name: str) -> None:
    for pieces in ([WORDS[name]], [WORDS[name][i : i + 1] for i in range(len(WORDS[name]))]):
        answer = answer_of(*pieces)
        assert (answer.text, answer.reasoning, answer.tool_calls, answer.reason) == ("one two", "", (), "stop")


BROKEN: dict[str, tuple[bytes, str]] = {
    "bytes": (b'data: {"choices":[{"delta":{"content":"\xf0\x9f"}}]}\n\n', "ok \ufffdend"),
    "half a pair": (b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n', "ok \ufffdend"),
    "a pair in two events": (
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"\\ude00"}}]}\n\n',
        "ok 😀end",
    ),
    "a line break in a text": (b'data: {"choices":[{"delta":{"content":"a\tb"}}]}\n\n', "ok a\tbend"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_can_be_read_of_broken_text_is_read(name: str) -> None:
    middle, expected = BROKEN[name]
    assert answer_of(*text("ok "), middle, *text("end"), *END).text == expected


def test_half_an_event_is_not_left_out() -> None:
    with pytest.raises(ModelUnavailable):
        answer_of(*text("ok "), b'data: {"choices": [{"delta": {"con\n\n', *text("end"), *END)


THOUGHTS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "reasoning_content": (
        [{"reasoning_content": "Hm, "}, {"reasoning_content": "so."}],
        {"reasoning_content": "Hm, so."},
    ),
    "reasoning": ([{"reasoning": "Hm, so."}], {"reasoning": "Hm, so."}),
    "two names for the same": (
        [{"reasoning": "Hm, so.", "reasoning_content": "Hm, so."}],
        {"reasoning_content": "Hm, so."},
    ),
    "OpenRouter's details": (
        [
            {"reasoning": "Hm, ", "reasoning_details": [{"type": "reasoning.text", "text": "Hm, ", "index": 0}]},
            {"reasoning": "so.", "reasoning_details": [{"type": "reasoning.text", "text": "so.", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "eA==", "index": 1}]},
        ],
        {
            "reasoning": "Hm, so.",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm, so.", "index": 0, "signature": "c2ln"},
                {"type": "reasoning.encrypted", "data": "eA==", "index": 1},
            ],
        },
    ),
    "blocks with signatures": (
        [
            {"thinking_blocks": [{"type": "thinking", "thinking": "Hm, ", "signature": None}]},
            {"thinking_blocks": [{"type": "thinking", "thinking": "so.", "signature": ""}]},
            {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]},
            {"thinking_blocks": [{"type": "redacted_thinking", "data": "eA=="}]},
        ],
        {
            "thinking_blocks": [
                {"type": "thinking", "thinking": "Hm, so.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "eA=="},
            ]
        },
    ),
    "parts of the content": (
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm, "}]}]},
            {
                "content": [
                    {"type": "reasoning", "reasoning": "so."},
                    {"type": "thinking", "thinking": [], "closed": True},
                ]
            },
        ],
        {},
    ),
    "a signature of the message": (
        [{"reasoning_content": "Hm, so."}, {"extra_content": {"google": {"thought_signature": "c2ln"}}}],
        {"reasoning_content": "Hm, so.", "extra_content": {"google": {"thought_signature": "c2ln"}}},
    ),
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_thoughts_are_read_once_and_kept_for_the_provider(name: str) -> None:
    deltas, kept = THOUGHTS[name]
    whole = event({}, end="stop", choices=[{"delta": {}, "message": {"content": "Yes", "reasoning": "Hm, so."}}])
    for last in ([], [whole]):
        answer = answer_of(*map(event, deltas), *text("Yes"), *last, *END)
        assert (answer.text, answer.reasoning, answer.extra) == ("Yes", "Hm, so.", kept)


A, B = '{"path": "a"}', '{"path": "b"}'
#: Events with the calls of `f` for a and b.
TWO_CALLS: dict[str, list[bytes]] = {
    "by index": [calls(call(A, index=0, id="x")), calls(call(B, index=1, id="y"))],
    "in one event": [calls(call(A, index=0, id="x"), call(B, index=1, id="y"))],
    "in one event, no index": [calls(call(A, id="x"), call(B, id="y"))],
    "in one event, neither index nor id": [calls(call(A), call(B))],
    "in one event, one id, no index": [calls(call(A, id="x"), call(B, id="x"))],
    "no index, other ids": [calls(call(A, id="x")), calls(call(B, id="y"))],
    "no index, one id": [calls(call(A, id="x")), calls(call(B, id="x"))],
    "one index, other ids": [calls(call(A, index=0, id="x")), calls(call(B, index=0, id="y"))],
    "one index, one id": [calls(call(A, index=0, id="x")), calls(call(B, index=0, id="x"))],
    "one index, no ids": [calls(call(A, index=0)), calls(call(B, index=0))],
    "neither index nor id": [calls(call(A)), calls(call(B))],
    "one id for all, by index": [
        calls(call("", index=0, id="x"), call("", index=1, id="x")),
        calls(call(A, name=None, index=0), call(B, name=None, index=1)),
    ],
    "one index, in pieces": [
        calls(call("", index=0, id="x")),
        calls(call('{"path"', name=None, index=0, id="")),
        calls(call(': "a"}', name=None, index=0, id="")),
        calls(call("", index=0, id="y")),
        calls(call('{"path"', name=None, index=0, id="")),
        calls(call(': "b"}', name=None, index=0, id="")),
    ],
    "mixed pieces by index": [
        calls(call('{"path"', index=0, id="x")),
        calls(call('{"path"', index=1, id="y")),
        calls(call(': "a"}', name=None, index=0)),
        calls(call(': "b"}', name=None, index=1)),
    ],
    "mixed pieces by id": [
        calls(call("", id="x")),
        calls(call("", id="y")),
        calls(call(A, name=None, id="x")),
        calls(call(B, name=None, id="y")),
    ],
    "the second one first": [calls(call(B, index=1, id="y")), calls(call(A, index=0, id="x"))],
    "name and id in each piece": [
        calls(call('{"path"', index=0, id="x")),
        calls(call(': "a"}', index=0, id="x")),
        calls(call('{"path"', index=1, id="y")),
        calls(call(': "b"}', index=1, id="y")),
    ],
    "another id in each piece": [
        calls(call('{"path"', index=0, id="r1")),
        calls(call(': "a"}', index=0, id="r2")),
        calls(call('{"path"', index=1, id="r3")),
        calls(call(': "b"}', name=None, index=1, id="r4")),
    ],
    "the id last": [
        calls(call('{"path"', index=0)),
        calls(call(': "a"}', name=None, index=0, id="x")),
        calls(call(B, index=1, id="y")),
    ],
    "an index that counts pieces": [
        calls(call("", index=0, id="x")),
        calls(call('{"path"', name=None, index=1)),
        calls(call(': "a"}', name=None, index=2)),
        calls(call(B, index=3, id="y")),
    ],
    "objects": [calls(call({"path": "a"}, index=0, id="x")), calls(call({"path": "b"}, index=1, id="y"))],
    "numbers and texts": [calls(call(A, index="0", id=1)), calls(call(B, index="1", id=2))],
    "fields beside the call": [calls({"name": "f", "arguments": A, "id": "x"}), calls({"name": "f", "arguments": B})],
    "an empty object first": [
        calls(call({}, index=0, id="x"), call("{}", index=1, id="y")),
        calls(call('{"path"', name=None, index=0), call(B, name=None, index=1)),
        calls(call(': "a"}', name=None, index=0)),
    ],
    "once more as a whole": [
        calls(call('{"path"', index=0, id="x")),
        calls(call(': "a"}', name=None, index=0)),
        calls(call(B, index=1, id="y")),
        calls(call({"path": "a"}, index=0, id="x"), call({"path": "b"}, index=1, id="y")),
    ],
    "once more in a message": [
        calls(call(A, index=0, id="x"), call(B, index=1, id="y")),
        choice(delta={}, message={"content": None, "tool_calls": [call(A, id="x"), call(B, id="y")]}),
    ],
    "the second one only in the message": [
        calls(call(A)),
        choice(delta={}, message={"content": None, "tool_calls": [call({"path": "a"}), call(B)]}),
    ],
    "only in a message": [choice(message={"content": None, "tool_calls": [call(A, id="x"), call(B, id="y")]})],
    "by number": [event({"tool_calls": {"0": call(A), "1": call(B)}})],
}


@pytest.mark.parametrize("name", TWO_CALLS)
@pytest.mark.parametrize("end", ["tool_calls", "stop", "function_call"])
def test_two_calls_are_told_apart_in_every_form(name: str, end: str) -> None:
    answer = answer_of(*TWO_CALLS[name], *ending(end))
    assert [(each.name, each.arguments) for each in answer.tool_calls] == [("f", {"path": "a"}), ("f", {"path": "b"})]
    assert len({each.id for each in answer.tool_calls}) == 2
    assert answer.broken == {}


ONE_CALL: dict[str, list[bytes]] = {
    "an id that comes again": [
        calls(call('{"path"', name="read_file", index=0, id="x")),
        calls(call(': "a"}', name=None, index=0, id="x")),
    ],
    "a name in pieces": [
        calls(call("", name="read_", index=0, id="x")),
        calls(call("", name="file", index=0)),
        calls(call(A, name=None, index=0)),
    ],
    "a name in pieces, no index": [
        calls(call(None, name="read_", id="x")),
        calls(call(None, name="file")),
        calls(call(A, name=None)),
    ],
    "a name that grows": [calls(call("", name="read_", index=0, id="x")), calls(call(A, name="read_file", index=0))],
    "a name that is repeated": [calls(call("", name="read_file")), calls(call(A, name="read_file"))],
    "id, name, arguments": [
        calls({"id": "x", "index": 0}),
        calls({"index": 0, "function": {"name": "read_file"}}),
        calls({"index": 0, "function": {"arguments": A}}),
    ],
    "the older form": [
        event({"function_call": {"name": "read_file", "arguments": ""}}),
        event({"function_call": {"arguments": '{"path"'}}),
        event({"function_call": {"arguments": ': "a"}'}}),
    ],
    "both forms at once": [
        event({"function_call": {"name": "read_file", "arguments": A}, "tool_calls": [call(A, name="read_file")]})
    ],
    "not a list": [event({"tool_calls": call(A, name="read_file", id="x")})],
    "nothing in the list": [event({"tool_calls": [None, {}]}), calls(call(A, name="read_file", id="x"))],
    "in pieces, then whole, without a number": [
        calls(call('{"path"', name="read_file")),
        calls(call(': "a"}', name=None)),
        calls(call(A, name="read_file")),
    ],
    "half a pair in each piece": [
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "x", "function": '
        b'{"name": "read_file", "arguments": "{\\"path\\": \\"a\\", \\"x\\": \\"\\ud83d"}}]}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\\ude00\\"}"}}]}}]}\n\n',
    ],
}


@pytest.mark.parametrize("name", ONE_CALL)
def test_one_call_stays_one(name: str) -> None:
    answer = answer_of(*ONE_CALL[name], *ending("tool_calls"))
    assert [each.name for each in answer.tool_calls] == ["read_file"]
    assert answer.tool_calls[0].arguments["path"] == "a"
    assert answer.broken == {}


@pytest.mark.parametrize("arguments", [None, "", "{}", {}, " "])
def test_a_call_without_arguments(arguments: Any) -> None:
    answer = answer_of(calls(call(arguments, id="x")), calls(call(arguments, id="y")), *ending("tool_calls"))
    assert [each.arguments for each in answer.tool_calls] == [{}, {}]
    assert answer.broken == {}


@pytest.mark.parametrize("again", [{"name": None}, {"name": None, "id": "x"}, {}, {"id": "x"}])
def test_an_empty_object_before_the_arguments_of_another_call_with_the_same_id(again: dict[str, Any]) -> None:
    pieces = [call("{}", index=0, id="x"), call("{}", index=1, id="x")]
    assert [made.arguments for made in answer_of(*map(calls, pieces), *END).tool_calls] == [{}]
    for rest in ([A], ['{"path"', ': "a"}']):
        more = [call(text, index=1, **again) for text in rest]
        made = answer_of(*map(calls, [*pieces, *more]), *END).tool_calls
        assert [(each.name, each.arguments) for each in made] == [("f", {}), ("f", {"path": "a"})]


def test_more_calls_than_an_answer_may_have_end_it_before_they_are_compared() -> None:
    """Each with each takes seconds, and meanwhile no other stream of the worker moves."""
    many = [call(json.dumps({"n": number})) for number in range(1000)]
    for stream in ([calls(*many), END[0]], [*(calls(each) for each in many), END[0]], [calls(call("[" * 1_500_000))]):
        with pytest.raises(ModelAnswerTooLong):
            chunks_of(stream)


def test_a_call_that_comes_again_with_its_keys_in_another_order_is_the_same() -> None:
    whole = {"tool_calls": [call('{"b": 2, "a": 1}', id="")]}
    stream = calls(call('{"a":1,', index=0, id="")) + calls(call('"b":2}', name=None, index=0)) + choice(message=whole)
    assert [each.arguments for each in answer_of(stream + b"".join(END)).tool_calls] == [{"a": 1, "b": 2}]


def test_fields_of_a_call_that_only_the_provider_understands_are_kept() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "c2lnLTE="}}}
    answer = answer_of(calls(call(A, id="x", **extra)), calls(call(B, id="y")), *ending("tool_calls"))
    assert [each.extra for each in answer.tool_calls] == [extra, {}]


TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
ERRORS: dict[str, bytes] = {
    "as documented": f'data: {{"error": {{"message": "{TOO_LONG}", "code": 400}}}}\n\n'.encode(),
    "object": f'data: {{"object": "error", "message": "{TOO_LONG}", "type": "BadRequestError"}}\n\n'.encode(),
    "type": f'data: {{"type": "error", "error": {{"message": "{TOO_LONG}", "type": "x"}}}}\n\n'.encode(),
    "text": f'data: {{"error": "{TOO_LONG}"}}\n\n'.encode(),
    "list": f'[{{"error": {{"message": "{TOO_LONG}", "code": 400}}}}]'.encode(),
    "line": f'{{"error": {{"message": "{TOO_LONG}", "code": 400}}}}\n\n'.encode(),
    "lines": json.dumps({"error": {"message": TOO_LONG, "code": 400}}, indent=2).encode(),
    "named event": f'event: error\ndata: {{"message": "{TOO_LONG}"}}\n\n'.encode(),
    "named event with words": f"event: error\ndata: {TOO_LONG}\n\n".encode(),
    "field": f'error: {{"message": "{TOO_LONG}", "code": 400}}\n\n'.encode(),
    "message alone": json.dumps({"message": TOO_LONG}).encode(),
    "detail": json.dumps({"detail": TOO_LONG}).encode(),
    "beside choices": event({"content": ""}, end="error", error={"code": 400, "message": TOO_LONG}),
    "in the choice": choice(delta={"content": ""}, finish_reason="error", error={"code": 400, "message": TOO_LONG}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_in_every_form(name: str) -> None:
    with pytest.raises(ModelContextTooLong):
        answer_of(ERRORS[name])
    with pytest.raises(ModelContextTooLong):
        answer_of(*text("half"), ERRORS[name], b"\n\n", DONE)


@pytest.mark.parametrize(
    "nothing", [None, "", {}, [], False, 0, {"code": None, "message": ""}], ids=lambda value: json.dumps(value)
)
def test_an_empty_error_is_none(nothing: Any) -> None:
    assert answer_of(event({"content": "a"}, error=nothing), *END).text == "a"


USAGES: dict[str, list[bytes]] = {
    "inside the end": [event({}, end="stop", usage=usage())],
    "in the choice": [choice(delta={}, finish_reason="stop", usage=usage())],
    "Groq's place": [event({}, end="stop", x_groq={"usage": usage()})],
    "counting up": [event({"content": ""}, usage=usage(7, 1)), event({}, end="stop", usage=usage(7, 5))],
    "nothing at last": [
        event({}, end="stop", usage=usage()),
        event(usage={"prompt_tokens": 0, "completion_tokens": 0}),
    ],
    "fractions": [event({}, end="stop", usage={"prompt_tokens": 7.0, "completion_tokens": 5.2})],
    "texts": [event({}, end="stop", usage={"prompt_tokens": "7", "completion_tokens": "5"})],
    "other names": [event({}, end="stop", usage={"input_tokens": 7, "output_tokens": 5})],
    "nonsense in the details": [
        event({}, end="stop", usage={**usage(), "prompt_tokens_details": [1], "completion_tokens_details": "none"})
    ],
}


@pytest.mark.parametrize("name", USAGES)
def test_usage_is_read_in_every_form(name: str) -> None:
    answer = answer_of(*text("a"), *USAGES[name], DONE)
    assert answer.usage == TokenUsage(input_tokens=7, output_tokens=5)


@pytest.mark.parametrize(
    "nonsense", ["many", [1], {"a": 1}, True, 7, {"prompt_tokens": "many", "completion_tokens": None}]
)
def test_nonsense_in_place_of_usage_harms_nothing(nonsense: Any) -> None:
    assert answer_of(event({"content": "a"}, usage=nonsense), *END).usage == TokenUsage(input_tokens=7, output_tokens=5)


@pytest.mark.parametrize("reason", ["error", "network_error", "insufficient_system_resource", "abort"])
def test_a_failure_by_its_name(reason: str) -> None:
    with pytest.raises(ModelUnavailable):
        answer_of(event({"content": ""}), *ending(reason))
    with pytest.raises(ModelTruncated):
        answer_of(*text("half"), *ending(reason))
    with pytest.raises(ModelTruncated):
        answer_of(calls(call(A, id="x")), *ending(reason))


def test_the_graver_end_marker_counts() -> None:
    assert answer_of(*text("half"), event({}, end="length"), event({}, end="stop"), DONE).reason == "length"
    with pytest.raises(ModelTruncated):
        answer_of(*text("half"), event({}, end="error"), event({}, end="stop"), DONE)


@pytest.mark.parametrize(
    "stream",
    [
        [*text("half")],
        [calls(call('{"path": "a', id="x")), DONE],
        [DONE],
        [b"<html>hello</html>"],
        [b"data: 7\n\n", DONE],
    ],
    ids=["nothing", "half a call", "nothing at all", "a page", "a number"],
)
def test_without_an_end_marker_it_is_not_an_answer(stream: list[bytes]) -> None:
    with pytest.raises(ModelTruncated):
        answer_of(*stream)


def test_a_failure_with_a_sentence_keeps_the_sentence() -> None:
    with pytest.raises(ModelError) as caught:
        answer_of(
            event({}, end="error"), b'data: {"error": {"message": "content policy", "code": "content_filter"}}\n\n'
        )
    assert isinstance(caught.value, ModelRefused)


def test_a_piece_is_passed_on_when_it_comes() -> None:
    assert chunks_of([*text("a", "b"), *END])[:2] == [TextChunk("a"), TextChunk("b")]
