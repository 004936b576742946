"""Requests of clients that leave early: their turns end, too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

from codelab.asgi import application
from codelab.identity import api_keys
from sessions.api.completions import intake
from sessions.database import in_thread
from sessions.models import Turn, TurnStatus

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


@pytest.mark.parametrize("path", REQUESTS)
async def test_a_client_that_leaves_before_the_first_line_stops_its_turn(
    alice: User, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "LOST_SECONDS", 0)
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

    headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {key}".encode())]
    scope: Any = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    scope["client"] = ("127.0.0.1", 1)
    await application(scope, receive, send)
    assert has_headers.is_set()
    async with asyncio.timeout(30):
        while (await in_thread(Turn.objects.get)()).status != TurnStatus.CANCELLED:  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.01)
    await asyncio.gather(*intake._leavings)
