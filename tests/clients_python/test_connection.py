"""The socket of a client whose server refuses tokens, or cannot give new ones for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from codelab_client import SignInRequired, Tokens
from codelab_client.connection import NOT_SIGNED_IN, SUBPROTOCOL, Connection
from codelab_client.credentials import Credentials

type Answer = Callable[[httpx.Request], httpx.Response]


async def connect(accepted: str, answer: Answer) -> str:
    """Connect with the token `old` to a server that welcomes one token; return how that ended."""
    welcomed = asyncio.Event()

    async def handle(socket: ServerConnection) -> None:
        assert socket.request
        if socket.request.headers["Authorization"] != f"Bearer {accepted}":
            await socket.close(NOT_SIGNED_IN)
            return
        await socket.recv()
        await socket.send(json.dumps({"type": "welcome", "mode": "replay", "after": 0}))
        welcomed.set()
        await socket.wait_closed()

    async with (
        serve(handle, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server,  # type: ignore[list-item]
        httpx.AsyncClient(base_url="http://server", transport=httpx.MockTransport(answer)) as http,
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        connection = Connection(
            f"http://127.0.0.1:{port}/ws/a",
            http=http,
            credentials=Credentials(Tokens("old", "refresh")),
            hello=lambda: {"type": "hello"},
            receive=lambda _: None,
            closed=lambda: None,
        )
        running = asyncio.create_task(connection.run())
        waiting = asyncio.create_task(welcomed.wait())
        done, _ = await asyncio.wait({running, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        running.cancel()
        (error,) = await asyncio.gather(running, return_exceptions=True)
        if waiting in done:
            return "welcome"
        assert running in done, "neither welcomed nor refused"
        assert isinstance(error, BaseException)
        raise error


def tokens(name: str) -> httpx.Response:
    return httpx.Response(200, json={"access_token": name, "refresh_token": "next", "expires_in": 900})


async def test_a_new_token_that_is_refused_too_ends_the_session() -> None:
    requests = 0

    def answer(_: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        return tokens(f"new-{requests}")

    with pytest.raises(SignInRequired):
        await connect("none of them", answer)
    assert requests == 1


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_a_server_that_cannot_refresh_for_a_while_is_asked_again(status: int) -> None:
    answers = [httpx.Response(status), tokens("new")]
    assert await connect("new", lambda _: answers.pop(0)) == "welcome"


async def test_a_refresh_that_is_refused_ends_the_session() -> None:
    with pytest.raises(SignInRequired):
        await connect("new", lambda _: httpx.Response(400, json={"error": "invalid_grant"}))
