"""Signing in to the real web process as clients do: tokens, REST, sockets and revocation."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
import websockets

from tests.conftest import POSTGRES, REDIS
from tests.live.service import DEMO_PASSWORD, Service, Socket, running

pytestmark = pytest.mark.live

#: Seconds between two checks of a credential; the default is 30.
RECHECK = 1
INTERNAL_KEY = "the key of programs nearby"
ANSWER = "/say hello"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in which every user signs in."""
    with running(
        tmp_path_factory.mktemp("closed"),
        postgres=POSTGRES,
        redis=REDIS,
        CODELAB_OPEN_ACCESS_USER="",
        CODELAB_RECHECK_SECONDS=str(RECHECK),
        CODELAB_INTERNAL_KEY=INTERNAL_KEY,
        CODELAB_INTERNAL_USER="bob",
    ) as service:
        yield service


@pytest.fixture
async def web(closed: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=closed.url, trust_env=False) as client:
        yield client


async def sign_in(web: httpx.AsyncClient, username: str = "demo") -> dict[str, Any]:
    form = {
        "grant_type": "password",
        "client_id": "codelab-flutter-app",
        "username": username,
        "password": DEMO_PASSWORD,
    }
    response = await web.post("/oauth/token", data=form)
    assert response.status_code == 200, response.text
    return dict(response.json())


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def answer(client: Socket) -> str:
    await client.say(ANSWER)
    return str((await client.until_final())[-1].get("content"))


async def closing(client: Socket) -> tuple[int, list[dict[str, Any]]]:
    """Return the close code and the frames before it."""
    frames = []
    try:
        while True:
            frames.append(await client.receive())
    except websockets.ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 0, frames


async def test_a_password_gives_access_to_rest_and_to_sockets_in_every_way(
    closed: Service, web: httpx.AsyncClient
) -> None:
    tokens = await sign_in(web)
    headers = bearer(tokens["access_token"])
    key = (await web.post("/api/v1/api-keys", json={"name": "live"}, headers=headers)).json()["key"]
    for sent in (headers, bearer(key), {"X-API-Key": key}):
        assert (await web.get("/api/v1/sessions", headers=sent)).status_code == 200
        async with closed.connect("/ws/header", additional_headers=sent) as client:
            assert await answer(client) == "hello"
    for secret in (tokens["access_token"], key):
        for start in ("codelab.token.", "bearer."):
            async with closed.connect("/ws/sub", subprotocols=["codelab.v1", start + secret]) as client:
                assert client.connection.subprotocol == "codelab.v1"
                assert await answer(client) == "hello"
    ticket = (await web.post("/api/v1/ws-ticket", json={"session_id": "ticket"}, headers=headers)).json()["ticket"]
    async with closed.connect(f"/ws/ticket?ticket={ticket}") as client:
        assert await answer(client) == "hello"
    async with closed.connect(f"/ws/ticket?ticket={ticket}") as client:
        assert (await closing(client))[0] == 4401
    owners = closed.rows(
        "SELECT DISTINCT u.username FROM agent_sessions_session s JOIN auth_user u ON u.id = s.owner_id "
        "WHERE s.key IN ('header', 'sub', 'ticket')"
    )
    assert owners == [("demo",)]


async def test_the_originals_editor_signs_in_opens_a_session_and_a_socket_that_says_nothing(
    closed: Service, web: httpx.AsyncClient
) -> None:
    tokens = await sign_in(web)
    form = {"grant_type": "refresh_token", "client_id": "codelab-flutter-app", "refresh_token": tokens["refresh_token"]}
    tokens = (await web.post("/oauth/token", data=form)).json()
    session = (await web.post("/api/v1/sessions", headers=bearer(tokens["access_token"]))).json()
    async with closed.connect(f"/api/v1/ws/{session['id']}") as editor:
        await editor.say(ANSWER, role="user", is_final=None, call_id=None)
        assert [(await editor.receive())["type"] for _ in range(2)] == ["agent_switched", "assistant_message"]
    async with closed.connect("/api/v1/ws/another") as stranger:
        code, frames = await closing(stranger)
    assert (code, frames[-1]["error_code"]) == (4401, "not_signed_in")


async def test_the_benchmark_client_works_with_the_internal_key(closed: Service, web: httpx.AsyncClient) -> None:
    headers = {"X-Internal-Auth": INTERNAL_KEY}
    session = (await web.post("/api/v1/sessions", headers=headers)).json()
    async with closed.connect(f"/api/v1/ws/{session['session_id']}") as client:
        assert await answer(client) == "hello"
    assert (await web.get(f"/api/v1/sessions/{session['id']}/history", headers=headers)).json()["message_count"] == 2
    assert (await web.get("/api/v1/sessions", headers={"X-Internal-Auth": "change-me-internal-key"})).status_code == 401


@pytest.mark.parametrize("way", ["tokens", "key"])
async def test_a_revocation_closes_a_socket_during_an_answer(closed: Service, web: httpx.AsyncClient, way: str) -> None:
    tokens = await sign_in(web)
    headers = bearer(tokens["access_token"])
    made = (await web.post("/api/v1/api-keys", json={"name": "live"}, headers=headers)).json()
    secret = made["key"] if way == "key" else tokens["access_token"]
    async with closed.connect(f"/ws/revoked-{way}", additional_headers=bearer(secret)) as client:
        await client.say("/tokens 2000 20")
        assert (await client.receive())["type"] == "assistant_message"
        started = time.monotonic()
        if way == "key":
            assert (await web.delete(f"/api/v1/api-keys/{made['id']}", headers=headers)).status_code == 200
        else:
            assert (await web.post("/oauth/revoke", data={"token": tokens["refresh_token"]})).status_code == 200
        async with asyncio.timeout(60):
            code, frames = await closing(client)
    assert code == 4401
    assert frames[-1]["error_code"] == "TOKEN_EXPIRED"
    assert [frame["type"] for frame in frames].count("error") == 1
    # It takes a second at most; docs promise 60. The margin is for a busy machine.
    assert time.monotonic() - started < 20
    assert (await web.get("/api/v1/sessions", headers=bearer(secret))).json()["error_code"] == "TOKEN_EXPIRED"


async def test_a_revocation_ends_a_stream_of_events(closed: Service, web: httpx.AsyncClient) -> None:
    tokens = await sign_in(web)
    headers = bearer(tokens["access_token"])
    await web.post("/api/v1/sessions", json={"session_id": "sse"}, headers=headers)
    async with httpx.AsyncClient(base_url=closed.url, trust_env=False) as client, asyncio.timeout(60):
        accept = {**headers, "Accept": "text/event-stream"}
        async with client.stream("GET", "/api/v1/sessions/sse/events", headers=accept) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 1000"
            await web.post("/oauth/revoke", data={"token": tokens["access_token"]})
            assert [line async for line in lines if line] == []


def until_turn(service: Service, text: str, wanted: str) -> None:
    """Wait until the turn of the message with this text has the status."""
    statement = (
        "SELECT turn.status FROM agent_sessions_turn AS turn JOIN agent_sessions_message AS message "
        "ON message.turn_id = turn.id WHERE message.role = 'user' AND message.content = %s"
    )
    deadline = time.monotonic() + 60
    while (found := service.rows(statement, text)) != [(wanted,)]:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_revocation_ends_an_openai_request_with_an_error(
    closed: Service, web: httpx.AsyncClient, stream: bool
) -> None:
    headers = bearer((await sign_in(web))["access_token"])
    made = (await web.post("/api/v1/api-keys", json={"name": "door", "scopes": ["llm"]}, headers=headers)).json()
    messages: Any = [{"role": "user", "content": f"/say Half ({stream}).\n/stall"}]
    text = messages[0]["content"]
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with (
        openai.AsyncOpenAI(base_url=f"{closed.url}/v1", api_key=made["key"], http_client=http) as client,
        asyncio.timeout(60),
    ):
        asking: asyncio.Task[Any]
        if stream:
            chunks = await client.chat.completions.create(model="scripted", messages=messages, stream=True)
            got = ""
            while "." not in got:
                got += (await anext(chunks)).choices[0].delta.content or ""
            asking = asyncio.ensure_future(anext(chunks))
        else:
            asking = asyncio.create_task(client.chat.completions.create(model="scripted", messages=messages))
            await asyncio.to_thread(until_turn, closed, text, "running")
        assert (await web.delete(f"/api/v1/api-keys/{made['id']}", headers=headers)).status_code == 200
        with pytest.raises(openai.APIError) as caught:
            await asking
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")
    assert isinstance(caught.value, openai.AuthenticationError) != stream
    # The turn stops, because no client can follow it any more.
    await asyncio.to_thread(until_turn, closed, text, "cancelled")


async def test_a_browser_signs_in_on_the_page(closed: Service, web: httpx.AsyncClient) -> None:
    await web.get("/login")
    form = {"username": "demo", "password": DEMO_PASSWORD, "csrfmiddlewaretoken": web.cookies["csrftoken"], "next": "/"}
    assert (await web.post("/login", data=form)).status_code == 302
    assert (await web.get("/api/v1/sessions")).status_code == 200


async def test_no_credential_is_in_a_log(closed: Service, web: httpx.AsyncClient) -> None:
    tokens = await sign_in(web)
    headers = bearer(tokens["access_token"])
    key = (await web.post("/api/v1/api-keys", json={"name": "live"}, headers=headers)).json()["key"]
    ticket = (await web.post("/api/v1/ws-ticket", json={"session_id": "log"}, headers=headers)).json()["ticket"]
    canaries = (tokens["access_token"], tokens["refresh_token"], key, ticket, DEMO_PASSWORD, INTERNAL_KEY)
    for canary in (*canaries[:4],):
        await web.get("/nowhere", params={"token": canary})
        await web.get(f"/api/v1/sessions?ticket={canary}")
        await web.get("/api/v1/sessions", headers=bearer(canary))
        await web.post("/oauth/revoke", data={"token": f"{canary}x"})
    logs = [closed.log_of(name) for name in ("web", "worker")]
    assert '"request": "GET /nowhere' in logs[0]
    for canary in canaries:
        assert all(canary not in log and json.dumps(canary)[1:-1] not in log for log in logs)
