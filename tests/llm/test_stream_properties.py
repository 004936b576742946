"""However a server changes the form of a stream, the answer that is read is the answer that was made."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from agents import loop
from agents.events import StepFinished
from llm import calls, direct
from llm.types import Endpoint, ModelMessage, ModelRequest
from tests.llm.parsed import answer_of
from tests.llm.recorded import recorded
from tests.llm.streams import CHANGES, Answer, Maker, answers

SETS_OF_CHANGES = st.sets(st.sampled_from(CHANGES), max_size=12)


def require_equal(answer: Answer, read: StepFinished) -> None:
    assert (read.text, read.reasoning) == (answer.text, answer.thought)
    assert [(call.name, call.arguments) for call in read.tool_calls] == [
        (call.name, call.arguments) for call in answer.calls
    ]
    assert len({call.id for call in read.tool_calls}) == len(answer.calls)
    assert read.broken == {}
    assert read.reason in ({"tool_calls", "stop"} if answer.calls else {answer.reason})
    assert read.usage == answer.usage


def cut(data: st.DataObject, stream: bytes) -> list[bytes]:
    """Cut a stream as a network does."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(answer=answers(), changes=SETS_OF_CHANGES, data=st.data())
def test_an_answer_is_read_as_it_was_made(answer: Answer, changes: set[str], data: st.DataObject) -> None:
    stream = Maker(answer, changes, data.draw).make()
    note(stream.decode(errors="replace"))
    require_equal(answer, answer_of(*cut(data, stream)))


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=max(settings().max_examples // 20, 5))
@given(answer=answers(), data=st.data())
def test_each_change_alone(change: str, answer: Answer, data: st.DataObject) -> None:
    stream = Maker(answer, {change}, data.draw).make()
    require_equal(answer, answer_of(*cut(data, stream)))


@settings(max_examples=max(settings().max_examples // 5, 20))
@given(answer=answers(), changes=SETS_OF_CHANGES, data=st.data())
def test_one_request_is_made_for_it(answer: Answer, changes: set[str], data: st.DataObject) -> None:
    pieces = [piece for piece in cut(data, Maker(answer, changes, data.draw).make()) if piece]
    content_type = data.draw(st.sampled_from(["text/event-stream", "application/json", "text/plain"]))
    read, requests = asyncio.run(ask(pieces, content_type))
    require_equal(answer, read)
    assert requests == 1


async def ask(pieces: list[bytes], content_type: str) -> tuple[StepFinished, int]:
    """Return the answer to a real request, and how many were made for it."""
    async with recorded() as server:
        server.play(*pieces, content_type=content_type)
        request = ModelRequest(
            model="openai/fake",
            messages=(ModelMessage(role="user", content="Hi"),),
            endpoint=Endpoint(api_base=server.url, allow_private=True),
        )
        async with aclosing(loop.step(calls.stream(request))) as events:
            async for event in events:
                if isinstance(event, StepFinished):
                    await direct.close()
                    return event, len(server.posts)
    raise AssertionError(json.dumps([piece.decode(errors="replace") for piece in pieces]))
