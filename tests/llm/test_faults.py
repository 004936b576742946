"""Whatever a provider does, the output comes from one call, incomplete tool calls do not count, and each request does.

The eleven ways of a provider that were measured (docs/models.md), each for an answer in words, for one that asks for a
tool, and for the answer after the tool's result; read by ourselves, and through LiteLLM.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from agents import loop
from agents.events import StepFinished, TextDelta
from llm import calls
from llm.errors import ModelError
from llm.types import CallOutcome, CallRecord, ModelMessage, ModelRequest, Tool
from tests.llm.recorded import DONE, RESET, Recorded, Step, ending, event, text, tool_call

READ_FILE = Tool(name="read_file", description="Reads.", parameters={"type": "object", "properties": {}})
#: A busy machine may take seconds between two pieces; only the faults that are a silence wait for less.
PATIENCE_SECONDS = 25.0
ASKED = ModelMessage(role="user", content="What is in it?")


@dataclass(slots=True)
class Heard:
    """The result of one step."""

    shown: str = ""
    finished: StepFinished | None = None
    error: str = ""
    records: list[CallRecord] = field(default_factory=list)


async def step(
    *messages: ModelMessage,
    model: str = "openai/fake",
    fallbacks: tuple[str, ...] = (),
    first_token_timeout: float = PATIENCE_SECONDS,
    idle_timeout: float = PATIENCE_SECONDS,
) -> Heard:
    heard = Heard()
    request = ModelRequest(
        model=model,
        messages=messages,
        tools=(READ_FILE,),
        fallbacks=fallbacks,
        first_token_timeout=first_token_timeout,
        idle_timeout=idle_timeout,
        call_timeout=30,
    )
    try:
        async with aclosing(loop.step(calls.stream(request, observe=heard.records.append))) as events:
            async for each in events:
                match each:
                    case TextDelta(piece):
                        heard.shown += piece
                    case StepFinished():
                        heard.finished = each
    except ModelError as error:
        heard.error = error.code
    return heard


def asks_for_a_tool() -> list[bytes]:
    return [*text("I ", "will ", "look."), *tool_call("read_file", '{"pa', 'th": "a"}')]


def says() -> list[bytes]:
    return text("One ", "two ", "three ", "four.")


COMMENT = b": keep-alive\n\n"

#: What the provider does with the pieces of an answer and its end; the code it makes; the requests it is sent.
FAULTS: dict[str, tuple[list[Step], str, int]] = {
    "clean end without an end marker": ([], "model_truncated", 1),
    "clean end within arguments": ([*tool_call("read_file", '{"path": "/et')], "model_truncated", 1),
    "reset": ([RESET], "model_truncated", 1),
    "error event": ([b'data: {"error": {"message": "x", "code": 500}}\n\n'], "model_truncated", 1),
    "broken JSON": ([b'data: {"choices": [{"delta": {"con\n\n', DONE], "model_truncated", 1),
    "stall": ([30.0], "model_stalled", 1),
}
#: The same, where nothing of the answer comes first.
FAULTS_AT_ONCE: dict[str, tuple[list[Step], str, int]] = {
    "no first byte": ([30.0], "model_timed_out", 1),
    "comments for ever": ([step for _ in range(40) for step in (COMMENT, 0.1)], "model_timed_out", 1),
}


@pytest.mark.parametrize("round_", ["text", "tool call", "second round"])
@pytest.mark.parametrize("fault", ["none", *FAULTS, *FAULTS_AT_ONCE, "HTTP 500", "HTTP 429"])
async def test_a_fault_is_never_taken_for_an_answer(server: Recorded, way: str, round_: str, fault: str) -> None:
    messages: tuple[ModelMessage, ...] = (ASKED,)
    if round_ == "second round":
        server.play(*asks_for_a_tool(), *ending("tool_calls"))
        first = (await step(*messages)).finished
        assert first is not None
        messages += (
            ModelMessage(role="assistant", content=first.text, tool_calls=first.tool_calls),
            ModelMessage(role="tool", content="Nothing.", tool_call_id=first.tool_calls[0].id),
        )
    before = len(server.posts)
    answer = asks_for_a_tool() if round_ == "tool call" else says()
    if fault == "none":
        server.play(*answer, *ending("tool_calls" if round_ == "tool call" else "stop"))
        code, posts = "", 1
    elif fault in FAULTS:
        steps, code, posts = FAULTS[fault]
        server.play(*answer, *steps)
    elif fault in FAULTS_AT_ONCE:
        steps, code, posts = FAULTS_AT_ONCE[fault]
        server.play(*steps)
    else:
        status = int(fault.removeprefix("HTTP "))
        server.refuse(status)
        code, posts = ("model_rate_limited" if status == 429 else "model_unavailable"), 3

    heard = await step(
        *messages,
        first_token_timeout=1.5 if fault in FAULTS_AT_ONCE else PATIENCE_SECONDS,
        idle_timeout=0.7 if fault == "stall" else PATIENCE_SECONDS,
    )

    assert (heard.error, len(server.posts) - before) == (code, posts)
    assert [record.attempt for record in heard.records] == list(range(1, posts + 1))
    assert {record.error_code for record in heard.records} == {code}
    shown = "".join(["I will look." if round_ == "tool call" else "One two three four."])
    if fault == "none":
        assert heard.finished is not None
        assert [(call.name, call.arguments) for call in heard.finished.tool_calls] == (
            [("read_file", {"path": "a"})] if round_ == "tool call" else []
        )
        assert heard.records[0].outcome == CallOutcome.COMPLETED
        assert (heard.records[0].usage.input_tokens, heard.records[0].usage.output_tokens) == (7, 5)
    else:
        assert heard.finished is None
    if code in {"model_truncated", "model_stalled"} or fault == "none":
        assert heard.shown == shown
        assert heard.records[0].time_to_first_token is not None
    else:
        assert heard.shown == ""
    if code in {"model_truncated", "model_stalled"}:
        assert heard.records[0].outcome == CallOutcome.TRUNCATED
        assert heard.records[0].usage.estimated


@pytest.mark.parametrize("k", range(21))
async def test_what_is_shown_is_of_one_attempt(server: Recorded, way: str, k: int) -> None:
    pieces = [f"{i} " for i in range(20)]
    server.play(*text(*[f"a{piece}" for piece in pieces][:k]), RESET)
    server.play(*text(*[f"b{piece}" for piece in pieces]), *ending())
    heard = await step(ASKED)
    if k == 0:
        assert heard.shown == "".join(f"b{piece}" for piece in pieces)
        assert [record.outcome for record in heard.records] == [CallOutcome.FAILED, CallOutcome.COMPLETED]
    else:
        assert heard.shown == "".join(f"a{piece}" for piece in pieces[:k])
        assert heard.error == "model_truncated"
    assert len(server.posts) == len(heard.records) == (2 if k == 0 else 1)


async def test_a_piece_of_a_tool_call_is_output_too(server: Recorded, way: str) -> None:
    server.play(*tool_call("read_file"), RESET).play(*says(), *ending())
    heard = await step(ASKED)
    assert (heard.error, len(server.posts)) == ("model_truncated", 1)
    assert heard.finished is None


async def test_two_dead_models_and_a_third(server: Recorded, way: str) -> None:
    for _ in range(6):
        server.refuse(503)
    server.play(*says(), *ending())
    heard = await step(ASKED, model="openai/a", fallbacks=("openai/b", "openai/c"))
    assert server.models == ["a", "a", "a", "b", "b", "b", "c"]
    assert heard.shown == "One two three four."
    assert [(record.model, record.attempt, record.outcome) for record in heard.records] == [
        *(("openai/a", attempt, CallOutcome.FAILED) for attempt in (1, 2, 3)),
        *(("openai/b", attempt, CallOutcome.FAILED) for attempt in (4, 5, 6)),
        ("openai/c", 7, CallOutcome.COMPLETED),
    ]


@pytest.mark.parametrize(
    ("status", "code", "models"),
    [
        (400, "model_refused", ["a"]),
        (413, "model_context_too_long", ["a"]),
        (401, "model_not_authorized", ["a", "b"]),
        (404, "model_not_found", ["a", "b"]),
        (503, "model_unavailable", ["a", "a", "a", "b", "b", "b"]),
    ],
)
async def test_what_follows_a_failure(server: Recorded, way: str, status: int, code: str, models: list[str]) -> None:
    server.refuse(status)
    heard = await step(ASKED, model="openai/a", fallbacks=("openai/b",))
    assert (heard.error, server.models) == (code, models)


async def test_the_window_is_named_in_many_ways(server: Recorded, way: str) -> None:
    error = {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"}
    server.refuse(400, {"error": {"type": "invalid_request_error", **error}})
    assert (await step(ASKED)).error == "model_context_too_long"


async def test_an_answer_that_reached_its_limit_keeps_its_last_call_unread(server: Recorded, way: str) -> None:
    server.play(*tool_call("read_file", '{"path": "/et'), *ending("length"))
    finished = (await step(ASKED)).finished
    assert finished is not None
    assert finished.broken.keys() == {"call_1"}
    assert finished.tool_calls[0].arguments == {}


async def test_an_answer_without_any_content_is_an_answer(server: Recorded, way: str) -> None:
    server.play(event({"role": "assistant", "content": ""}), *ending())
    heard = await step(ASKED)
    assert (heard.error, heard.shown, len(server.posts)) == ("", "", 1)
