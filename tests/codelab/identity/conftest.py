"""Fixtures of the identity tests: credentials of Alice, and counters that start at zero."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from asgiref.testing import ApplicationCommunicator
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client as Browser
from pytest_django import Settings

from codelab.asgi import application
from codelab.identity import api_keys, keys, rate_limits, token_families
from codelab.identity.models import Client, SigningKey
from codelab.identity.token_families import TokenPair
from sessions.database import in_thread

PASSWORD = "a long password of alice"


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    """A key pair, shared because creating one takes a second on a busy processor."""
    return keys._new_key()


@pytest.fixture(autouse=True)
def _fresh(settings: Settings) -> Iterator[None]:
    """Clear counters and the cached keys of another test's database. Hash passwords quickly."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter(f"{rate_limits.KEY_PREFIX}*"):
            client.delete(key)
    keys.clear_cache()
    yield
    keys.clear_cache()


@pytest.fixture
async def loop() -> AsyncIterator[None]:
    """Close the connections of one test's event loop."""
    yield
    layer: Any = get_channel_layer()
    await layer.flush()


@pytest.fixture
def editor(db: None, signing_key: SigningKey) -> Client:
    """The original editor's public client, and a key that signs its tokens."""
    SigningKey.objects.get_or_create(
        kid=signing_key.kid, defaults={"private_pem": signing_key.private_pem, "public_jwk": signing_key.public_jwk}
    )
    return Client.objects.get_or_create(client_id="codelab-flutter-app")[0]


@pytest.fixture
def token_pair(alice: User, editor: Client) -> TokenPair:
    """Tokens of Alice."""
    return token_families.begin(alice, editor, "api:read api:write", address="127.0.0.1", refreshable=True)


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Check the credentials of open sockets ten times a second."""
    settings.CODELAB_RECHECK_SECONDS = 0.1
    return settings


@pytest.fixture
def key(alice: User) -> str:
    """An API key of Alice."""
    return api_keys.create(alice, name="tests", scopes="api:read api:write", expires_at=None, address="")[1]


class Socket(WebsocketCommunicator):
    """A socket to the service inside this process."""

    #: The subprotocol that the server chose.
    subprotocol: str | None = None

    # With Channels' own methods the threads keep their database connections while they wait, and forever once two have
    # waited at the same time.

    async def send_input(self, message: Any) -> Any:
        return await ApplicationCommunicator.send_input(self, message)  # type: ignore[no-untyped-call]

    async def receive_output(self, timeout: float = 1) -> Any:
        return await ApplicationCommunicator.receive_output(self, timeout)  # type: ignore[no-untyped-call]


class Caller:
    """A client inside this process: requests and sockets with the same credentials."""

    def __init__(self, token: str | None = None, *, address: str = "127.0.0.1", **headers: str) -> None:
        self.headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
        self.address = address
        self.browser = Browser()

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        content: dict[str, Any] = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return self.browser.generic(
            method, path, **content, headers={**self.headers, **headers}, REMOTE_ADDR=self.address
        )

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send a request from an async test; its loop handles it."""
        return await in_thread(self.request)(method, path, body, **headers)

    @asynccontextmanager
    async def socket(self, path: str, subprotocols: Sequence[str] = (), **headers: str) -> AsyncIterator[Socket]:
        sent = {**self.headers, "Host": "testserver", **headers}
        pairs = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        socket = Socket(application, path, pairs, list(subprotocols))
        socket.scope["client"] = (self.address, 40000)
        opened, chosen = await socket.connect(timeout=60)
        assert opened
        socket.subprotocol = None if chosen is None else str(chosen)
        try:
            yield socket
        finally:
            await socket.disconnect(timeout=60)


async def receive(socket: Socket, timeout: float = 60) -> dict[str, Any]:
    """Return the next frame, or the code with which the socket was closed."""
    output = await socket.receive_output(timeout)
    if output["type"] == "websocket.close":
        return {"closed": output["code"]}
    return dict(json.loads(output["text"]))


async def send_message(socket: Socket, content: str = "/say hello") -> dict[str, Any]:
    """Send a message and return its event, or the error."""
    await socket.send_to(text_data=json.dumps({"type": "user_message", "content": content}))
    return await receive(socket)
