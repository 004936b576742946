"""A user has so many sockets open at one process; further ones are closed with a reason."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User

from sessions.api.streaming import OpenConnections
from sessions.api.websocket import opening
from sessions.api.websocket.consumers import SessionConsumer
from sessions.errors import AccessDenied

pytestmark = pytest.mark.django_db(transaction=True)


class Caller:
    """Alice, who stays signed in."""

    api_key = None

    def __init__(self, user: User) -> None:
        self.user = user

    async def identify(self, key: str | None = None) -> User:
        return self.user

    async def authorize(self, *actions: object) -> None:
        pass

    async def signed_out(self) -> AccessDenied:
        await asyncio.Event().wait()
        raise AssertionError


def socket_of(user: User) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(SessionConsumer.as_asgi(), "/ws/bounds")
    scope: Any = communicator.scope
    scope |= {"caller": Caller(user), "url_route": {"kwargs": {"key": "bounds"}}}
    return communicator


async def test_one_socket_too_many_is_closed_and_closed_ones_do_not_count(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_sockets", OpenConnections("sockets", 1))
    first, second, third = socket_of(alice), socket_of(alice), socket_of(alice)
    assert (await first.connect(60))[0]
    assert (await second.connect(60))[0]
    refusal: Any = json.loads(await second.receive_from(timeout=60))
    assert (refusal["type"], refusal["error_code"]) == ("error", "rate_limited")
    await first.disconnect(60)
    assert (await third.connect(60))[0]
    assert await third.receive_nothing(timeout=0.5)
    for socket in (second, third):
        await socket.disconnect(60)
