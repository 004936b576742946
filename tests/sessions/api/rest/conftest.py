"""What the tests of REST share: Alice and Bob as callers inside this process, and scripted turns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.test import Client

from sessions.database import in_thread
from sessions.models import Session
from sessions.turns.sessions import open_session


@pytest.fixture
async def loop() -> AsyncIterator[None]:
    """Close the connections of one test's loop."""
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


class Http:
    """A signed-in client of the service inside this process."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        # The original's editor makes a session without a body or content type.
        content: dict[str, Any] = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        # In a thread, which returns its database connection; the view itself runs in the test's loop.
        response: Any = await in_thread(self.client.generic)(method, path, **content)
        return response.status_code, json.loads(response.content)

    async def ok(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer to a request that must be served."""
        status, answer = await self(method, path, body)
        assert 200 <= status < 300, (status, answer)
        return answer

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Return the status and the code of a request that must not be served."""
        status, answer = await self(method, path, body)
        assert status >= 400, answer
        assert answer["error"]
        return status, answer["error_code"]


async def signed_in(user: User) -> Http:
    client = Client()
    await in_thread(client.force_login)(user)
    return Http(client)


@pytest.fixture
async def as_alice(alice: User, loop: None) -> Http:
    return await signed_in(alice)


@pytest.fixture
async def as_bob(bob: User, loop: None) -> Http:
    return await signed_in(bob)


async def rows[T](read: Callable[[], T]) -> T:
    """Query the database in a thread."""
    return await in_thread(read)()


async def opened(user: User, key: str = "s") -> Session:
    return await in_thread(open_session)(user.pk, key)
