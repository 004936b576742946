"""Which of several clients gets a tool call."""

from __future__ import annotations

import asyncio

import pytest

from sessions.api import tool_dispatcher
from sessions.api.tool_dispatcher import ToolDispatcher
from sessions.database import in_thread
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, Session, ToolCall
from sessions.turns import attempts, inbox, tool_calls
from tests.sessions import story
from tests.sessions.calls import read_call

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_client_leaves_a_call_to_the_one_that_asked_although_it_still_looks(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn may come to its first call before another client's first look has ended."""
    got: asyncio.Queue[str] = asyncio.Queue()

    async def bystander(call: ToolCall, number: int | None) -> None:
        got.put_nowait("bystander")

    async def asking(call: ToolCall, number: int | None) -> None:
        got.put_nowait("asking")

    def run() -> str:
        turn_id = inbox.accept_message(session.pk, "Read it.").turn_id
        claimed = attempts.claim(turn_id, worker="w", model="m")
        assert claimed
        events.extend(tool_calls.request_tools(claimed[0], story.step(), [read_call("c1", "a.txt")]).events)
        return str(turn_id)

    events: list[LoggedEvent] = []
    turn_id = await in_thread(run)()
    (waiting,) = [event for event in events if event.kind == EventKind.TURN_WAITING]
    # Long enough for a busy machine.
    monkeypatch.setattr(tool_dispatcher, "PRIORITY_SECONDS", 10.0)
    late = ToolDispatcher(session.pk, "bystander", bystander, asks_user=False)
    late.notify(waiting)
    # Time for a look that would not wait.
    await asyncio.sleep(0.5)
    first = ToolDispatcher(session.pk, "asking", asking, asks_user=False)
    first.prefer(turn_id)
    first.notify(waiting)
    assert await asyncio.wait_for(got.get(), 30) == "asking"
    for dispatcher in (late, first):
        await dispatcher.close()
    assert got.empty()
