"""The calls and events of a session as its readers get them, without a server."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from codelab_client import CodelabError, Event, SessionClosed, ToolCall
from codelab_client.feed import Feed


async def waiting_calls(feed: Feed) -> list[str]:
    """Return the calls that a reader would still be given."""
    feed.end(SessionClosed("session_closed", "It was closed."))
    seen: list[str] = []
    with suppress(CodelabError):
        async for call in feed.calls():
            seen += [call.call_id]
    return seen


def call(call_id: str, turn_id: str) -> ToolCall:
    return ToolCall(call_id, "execute_command", {"command": "touch a"}, turn_id)


async def test_calls_of_a_turn_that_has_ended_are_not_handed_out() -> None:
    feed = Feed(0, lambda: None)
    calls = feed.calls()
    feed.take_call(call("first", "stopped"))
    assert (await anext(calls)).call_id == "first"
    # They wait for the first one to end.
    feed.take_call(call("second", "stopped"))
    feed.take_call(call("third", "next"))
    feed.take_event(Event(1, "turn_cancelled", {"turn_id": "stopped"}, 1))
    assert await waiting_calls(feed) == ["third"]


async def test_calls_of_turns_that_a_snapshot_does_not_have_are_not_handed_out() -> None:
    feed = Feed(0, lambda: None)
    feed.take_call(call("old", "ended"))
    feed.take_call(call("open", "waits"))
    turns = [{"turn_id": "waits", "status": "waiting", "attempt": 1}]
    feed.take_welcome({"mode": "snapshot", "after": 7, "snapshot": {"turns": turns}})
    assert await waiting_calls(feed) == ["open"]
    assert await asyncio.wait_for(anext(feed.events()), 60) == Event(7, "snapshot", {"turns": turns}, 7)
