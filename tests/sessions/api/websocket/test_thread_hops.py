"""What a frame costs the web process beside its verb: each call in a thread takes as long as a statement."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

from sessions.api.commands import announce
from sessions.database import in_thread
from sessions.models import Session
from sessions.results import Change
from sessions.turns import attempts, tool_calls
from tests.sessions import story
from tests.sessions.api.websocket.test_new_sessions import Socket
from tests.sessions.calls import read_call

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _layer() -> AsyncIterator[None]:
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


@pytest.fixture
async def hops(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls in threads, by the names of the functions, but those that depend on the time."""
    hops, loop = Counter[str](), asyncio.get_running_loop()
    run = loop.run_in_executor

    def count(executor: Any, call: Any, *arguments: Any) -> Any:
        function = call
        while isinstance(function, partial):
            function = next((each for each in reversed(function.args) if callable(each)), function.func)
        if function.__name__ not in ("beat", "latest_numbers", "_enqueue_until"):
            hops[function.__name__] += 1
        return run(executor, call, *arguments)

    monkeypatch.setattr(loop, "run_in_executor", count)
    return hops


async def request(session: Session, call_id: str) -> None:
    """Run a step of the session's turn that requests a tool call."""

    def run() -> Change:
        claimed = attempts.claim(session.turns.get().pk, worker="w", model="m")
        assert claimed
        change = tool_calls.request_tools(claimed[0], story.step(), [read_call(call_id, f"{call_id}.txt")])
        return Change(events=[*claimed[1].events, *change.events])

    announce(await in_thread(run)())


async def test_a_message_a_call_and_a_result_take_one_call_in_a_thread_each(alice: User, hops: Counter[str]) -> None:
    editor = await Socket(alice).open()
    await editor.send(type="hello", tools=["read_file"])
    await editor.until("welcome")
    session = await in_thread(Session.objects.get)()
    # The feed reads the log when it begins.
    await editor.send(type="switch_agent", agent_type="coder", reason="")
    await editor.until("agent_switched")
    # So does its client ask for open calls.
    async with asyncio.timeout(60):
        while not hops["offer"]:  # noqa: ASYNC110 (a counter has no event to wait for)
            await asyncio.sleep(0.01)

    hops.clear()
    await editor.send(type="user_message", content="Read both.")
    await editor.until("turn_queued")
    assert hops == {"accept_message": 1}
    await request(session, "first")
    await editor.until("tool_call")

    hops.clear()
    await editor.send(type="tool_result", call_id="first", result="1")
    await editor.until("turn_queued")
    assert hops == {"record_output": 1}
    hops.clear()
    await request(session, "second")
    await editor.until("tool_call")
    assert hops == {"run": 1, "offer": 1}
    await editor.close()
