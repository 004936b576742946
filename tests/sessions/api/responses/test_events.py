"""The events of the Responses API: their order, their numbers, and a stream that goes on."""

import asyncio
import json
import uuid
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from sessions.api.completions.errors import CompletionError
from sessions.api.completions.turn_follower import End, Piece, Retracted, Text
from sessions.api.responses.events import RESTART_NUMBERS, EventWriter
from sessions.api.responses.resource import Response
from sessions.models import CompletionApi
from sessions.turns.completions import CompletionRequest, TurnResult

TURN_ID = uuid.UUID("01938f6e-8d2a-7c3e-9d4b-0123456789ab")
RESULT = TurnResult(finish_reason="stop", input_tokens=7, output_tokens=5, cached_tokens=2, reasoning_tokens=1)
END = End("stop", RESULT)
CALL = {"id": "call_1", "name": "weather", "arguments": {"city": "Riga"}}
PATCH = {"id": "call_2", "name": "apply_patch", "arguments": {"input": "*** Begin Patch"}}
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def response(**fields: Any) -> Response:
    return Response(TURN_ID, CompletionRequest(api=CompletionApi.RESPONSES, model="m", **fields))


def events_of(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream, each as the `openai` package knows it."""
    events = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        if event["type"] != "response.failed":
            # The package's type has OpenAI's codes alone.
            EVENTS.validate_python(event)
        events.append(event)
    return events


def written(pieces: Iterable[Piece], *, after: int = -1, **fields: Any) -> list[dict[str, Any]]:
    writer = EventWriter(response(**fields), after=after)
    return events_of(asyncio.run(writer.begin()) + "".join(map(writer.write, pieces)))


def kinds(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_has_its_events_in_order() -> None:
    events = written([Text("one", "Hal"), Text("one", "lo"), END])
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    completed = events[-1]["response"]
    assert completed["id"] == events[0]["response"]["id"] == f"resp_{TURN_ID.hex}"
    assert completed["output"] == [events[-2]["item"]]
    assert completed["output"][0]["content"][0]["text"] == "Hallo"
    assert completed["usage"]["total_tokens"] == 12
    assert all(first["sequence_number"] < second["sequence_number"] for first, second in pairwise(events))


def test_thoughts_come_before_the_text_and_nothing_is_done_before_the_end() -> None:
    events = written([Text("one", "Hm", True), Text("one", "Yes"), END])
    names = kinds(events)
    assert names.index("reasoning_summary_part.done") < names.index("output_text.delta")
    assert names.index("output_item.done") > names.index("output_text.done") or names.count("output_item.done") == 2
    first_done = names.index("output_item.done")
    assert "output_text.delta" not in names[first_done:]
    thoughts, text = events[-1]["response"]["output"]
    assert thoughts["summary"] == [{"type": "summary_text", "text": "Hm"}]
    assert text["content"][0]["text"] == "Yes"


def test_calls_come_whole_and_custom_tools_get_their_text() -> None:
    details = {"tools": {"apply_patch": {"type": "custom", "name": "apply_patch", "description": ""}}}
    events = written([End("tool_calls", RESULT, [CALL, PATCH])], details=details)
    assert kinds(events)[2:] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "completed",
    ]
    function, custom = events[-1]["response"]["output"]
    assert json.loads(function["arguments"]) == {"city": "Riga"}
    assert (custom["type"], custom["input"], custom["call_id"]) == ("custom_tool_call", "*** Begin Patch", "call_2")


def test_a_tool_of_a_namespace_comes_back_as_the_client_knows_it() -> None:
    details = {"tools": {"agents__spawn": {"type": "function", "name": "spawn", "namespace": "agents"}}}
    call = {"id": "call_1", "name": "agents__spawn", "arguments": {}}
    (item,) = written([End("tool_calls", RESULT, [call])], details=details)[-1]["response"]["output"]
    assert (item["name"], item["namespace"]) == ("spawn", "agents")


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [("length", "incomplete", "max_output_tokens"), ("content_filter", "incomplete", "content_filter")],
)
def test_a_cut_answer_is_incomplete(reason: str, status: str, why: str) -> None:
    last = written([Text("one", "Hal"), End(reason, RESULT)])[-1]
    assert last["type"] == f"response.{status}"
    assert last["response"]["incomplete_details"] == {"reason": why}
    assert last["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("model_context_too_long", "context_length_exceeded"),
        ("model_out_of_credit", "insufficient_quota"),
        ("model_unavailable", "model_unavailable"),
    ],
)
def test_a_failure_is_an_event_with_openais_code(code: str, name: str) -> None:
    writer = EventWriter(response())
    (event,) = events_of(writer.fail(CompletionError(code, "It went wrong.")))
    assert event["type"] == "response.failed"
    assert event["response"]["status"] == "failed"
    assert event["response"]["error"] == {"code": name, "message": "It went wrong."}


def test_a_limit_says_when_to_try_again_as_codex_reads_it() -> None:
    error = CompletionError("model_rate_limited", "Too many requests.", retry_after=7)
    (event,) = events_of(EventWriter(response()).fail(error))
    assert event["response"]["error"]["code"] == "rate_limit_exceeded"
    assert event["response"]["error"]["message"].endswith("Please try again in 7s.")


def test_text_that_was_sent_cannot_be_taken_back() -> None:
    writer = EventWriter(response())
    writer.write(Text("one", "Hal"))
    with pytest.raises(CompletionError) as caught:
        writer.write(Retracted(["one"]))
    assert caught.value.code == "answer_restarted"


def test_an_answer_that_was_begun_again_has_other_numbers() -> None:
    events = written([Retracted(["one"]), Text("two", "Hallo"), END])
    assert events[1]["sequence_number"] == 1
    assert all(event["sequence_number"] > RESTART_NUMBERS for event in events[2:])
    last_seen = events[3]["sequence_number"]
    rest = written([Retracted(["one"]), Text("two", "Hallo"), END], after=last_seen)
    assert rest == events[4:]
    with pytest.raises(CompletionError):
        # The client has seen text of the first attempt.
        written([Retracted(["one"]), Text("two", "Hallo"), END], after=5)


def test_a_stream_has_an_end_behind_any_number() -> None:
    events = written([Text("one", "Hallo"), END])
    assert kinds(written([Text("one", "Hallo"), END], after=10**12)) == ["completed"]
    assert written([Text("one", "Hallo"), END], after=events[-1]["sequence_number"]) == []


RUNS = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.booleans(), st.text("ab\n😀", min_size=1, max_size=9)), max_size=8
)


@given(RUNS, st.data())
def test_a_stream_goes_on_wherever_it_was_cut(runs: list[tuple[str, bool, str]], data: st.DataObject) -> None:
    """The log puts pieces together later, so the second stream gets the same text in other pieces."""
    whole: list[Piece] = [Text(message, text, thought) for message, thought, text in runs]
    cut: list[Piece] = [Text(message, letter, thought) for message, thought, text in runs for letter in text]
    first, second = data.draw(st.permutations([[*whole, END], [*cut, END]]))
    events = written(first)
    seen = data.draw(st.integers(0, len(events)))
    after = events[seen - 1]["sequence_number"] if seen else -1
    resumed = events[:seen] + written(second, after=after)
    assert _text(resumed) == _text(events)
    for event in (resumed[-1], events[-1]):
        event["response"].pop("completed_at", None)
    assert resumed[-1] == events[-1]
    numbers = [event["sequence_number"] for event in resumed]
    assert numbers == sorted(set(numbers))


def _text(events: Sequence[dict[str, Any]]) -> dict[tuple[str, bool], str]:
    texts: dict[tuple[str, bool], str] = {}
    for event in events:
        if "delta" in event:
            key = event["item_id"], "summary_index" in event
            texts[key] = texts.get(key, "") + event["delta"]
    return texts
