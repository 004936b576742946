"""Requests of clients that leave early: their turns end, too."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from codelab.asgi import application
from codelab.identity import api_keys
from sessions.api.commands import announce
from sessions.api.completions import lost_turns
from sessions.database import in_thread
from sessions.models import Completion, Turn, TurnStatus, new_id
from sessions.results import Change
from sessions.turns import attempts, recovery
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)

REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/responses": {"model": "scripted", "input": "Hello."},
    "/v1/messages": {"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}]},
}


@pytest.fixture(autouse=True)
async def _loop() -> AsyncIterator[None]:
    """Close the connections of one test's loop."""
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


def scope_of(path: str, key: str) -> Any:
    headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    return {**scope, "client": ("127.0.0.1", 1)}


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_client_that_leaves_before_the_first_line_stops_its_turn(
    alice: User, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_turns, "LOST_SECONDS", 0)
    _, key = await in_thread(api_keys.create)(alice, name="k", scopes="llm", expires_at=None, address="")
    body = json.dumps({**REQUESTS[path], "stream": True}).encode()
    has_headers = asyncio.Event()
    messages = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await has_headers.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        assert message["type"] == "http.response.start", message
        has_headers.set()
        # Until the handler gives up.
        await asyncio.Event().wait()

    await application(scope_of(path, key), receive, send)
    assert has_headers.is_set()
    async with asyncio.timeout(30):
        while (await in_thread(Turn.objects.get)()).status != TurnStatus.CANCELLED:  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.01)
    await asyncio.gather(*lost_turns._tasks)


async def test_a_turn_is_left_before_its_client_reads_that_it_is_begun_again(alice: User) -> None:
    """The client repeats its request at once, and means this turn."""
    _, key = await in_thread(api_keys.create)(alice, name="k", scopes="llm", expires_at=None, address="")
    body = json.dumps({"model": "scripted", "stream": True, "messages": REQUESTS["/v1/messages"]["messages"]}).encode()
    messages, has_text = [{"type": "http.request", "body": body}], asyncio.Event()
    lost: list[bool] = []

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        text = message.get("body", b"")
        if b"The first" in text:
            has_text.set()
        if b"answer_restarted" in text:
            lost.append((await in_thread(Completion.objects.get)()).lost_at is not None)

    def write_a_part() -> Change:
        turn = Turn.objects.get()
        claimed = attempts.claim(turn.pk, worker="killed", model="m")
        assert claimed
        story.stream(claimed[0], new_id(), "The first")
        return claimed[1]

    def begin_again() -> Change:
        """Begin the turn again, while something else holds what `leave` writes."""
        Turn.objects.update(lease_expires_at=timezone.now() - attempts.LEASE_DURATION)
        turn_id = Turn.objects.get().pk
        recovery.recover(turn_id)
        claimed = attempts.claim(turn_id, worker="next", model="m")
        assert claimed
        return claimed[1]

    def hold() -> None:
        with transaction.atomic():
            Completion.objects.select_for_update().get()
            is_held.set()
            time.sleep(0.5)

    is_held = threading.Event()
    async with asyncio.TaskGroup() as tasks:
        request = tasks.create_task(application(scope_of("/v1/chat/completions", key), receive, send))
        while not await in_thread(Turn.objects.exists)():  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.01)
        announce(await in_thread(write_a_part)())
        await asyncio.wait_for(has_text.wait(), 30)
        change = await in_thread(begin_again)()
        holding = asyncio.ensure_future(in_thread(hold)())
        await asyncio.to_thread(is_held.wait)
        announce(change)
        await request
        await holding
    assert lost == [True]
    for task in list(lost_turns._tasks):
        task.cancel()
