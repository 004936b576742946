"""A slow Redis delays no answer: messages are accepted or refused in time, and PostgreSQL is not blamed."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.chaos.proxy import Link
from tests.live.service import Service, running
from tests.servers import redis_database

pytestmark = pytest.mark.live

#: What clients are promised, and two seconds more for a busy machine. One after the other they would wait for 6 s.
ANSWER_SECONDS = 3.0 + 2.0
CALLERS = 20
#: The time that one exchange with Redis takes.
ROUND_TRIP_SECONDS = 0.3


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    """Start a proxy in front of Redis, in a thread with its own event loop."""
    server = urlsplit(os.environ["REDIS_URL"])
    link, loop = Link("redis", lambda: server.port or 6379), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(link.open(), loop).result(60)
    yield link
    asyncio.run_coroutine_threadsafe(link.close(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()


@pytest.fixture(scope="module")
def slow(link: Link, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service with limits behind the proxy: no caller may come without credentials."""
    postgres = os.environ["DATABASE_URL"]
    with redis_database() as url:
        behind = url.replace(f":{urlsplit(url).port}/", f":{link.port}/")
        folder: Path = tmp_path_factory.mktemp("slow")
        with running(folder, postgres=postgres, redis=behind, CODELAB_OPEN_ACCESS_USER="") as service:
            yield service


@pytest.fixture
def headers(slow: Service, link: Link) -> Iterator[dict[str, str]]:
    """Sign in while Redis is quick."""
    link.delay = 0
    form = {"grant_type": "password", "client_id": "codelab-flutter-app"}
    body = {**form, "username": "demo", "password": slow.demo_password}
    answer = httpx.post(f"{slow.url}/oauth/token", data=body, timeout=30).json()
    yield {"Authorization": f"Bearer {answer['access_token']}"}
    link.delay = 0


@pytest.mark.parametrize("round_trip", [ROUND_TRIP_SECONDS, 2 * ROUND_TRIP_SECONDS])
async def test_messages_by_socket_are_answered_in_time(
    slow: Service, link: Link, headers: dict[str, str], round_trip: float
) -> None:
    async def send(number: int) -> tuple[str, float]:
        path = f"/ws/slow-{round_trip}-{number}"
        async with slow.connect(path, subprotocols=["codelab.v2"], additional_headers=headers) as client:
            await client.send({"type": "hello", "after": 0})
            assert (await client.receive())["type"] == "welcome"
            await all_open.wait()
            await begin.wait()
            started = time.monotonic()
            await client.say("/say hello", client_message_id=str(number))
            while (frame := await client.receive())["type"] not in ("accepted", "error"):
                pass
            return frame.get("error_code", "accepted"), time.monotonic() - started

    begin, all_open = asyncio.Event(), asyncio.Barrier(CALLERS + 1)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(number)) for number in range(CALLERS)]
        await all_open.wait()
        link.delay = round_trip / 2
        begin.set()
    answers = [task.result() for task in tasks]
    assert {code for code, _ in answers} <= {"accepted", "broker_unavailable"}
    assert max(seconds for _, seconds in answers) < ANSWER_SECONDS


async def test_callers_of_the_openai_api_are_answered_in_time(
    slow: Service, link: Link, headers: dict[str, str]
) -> None:
    body = {"model": "scripted", "messages": [{"role": "user", "content": "/say hello"}]}

    async def ask(http: httpx.AsyncClient) -> tuple[int, str]:
        answer = await http.post(f"{slow.url}/v1/chat/completions", json=body, headers=headers)
        return answer.status_code, (answer.json().get("error") or {}).get("code") or ""

    other = slow.connect("/ws/other", subprotocols=["codelab.v2"], additional_headers=headers)
    async with other as client, httpx.AsyncClient(timeout=30) as http:
        # The web process follows events already, for another client.
        await client.send({"type": "hello", "after": 0})
        await client.receive()
        link.delay = ROUND_TRIP_SECONDS / 2
        started = time.time()
        answers = await asyncio.gather(*(ask(http) for _ in range(CALLERS)))
    assert {(status, code) for status, code in answers} <= {(200, ""), (503, "broker_unavailable")}
    accepted = "SELECT max(extract(epoch FROM created_at)) FROM agent_sessions_turn WHERE created_at > to_timestamp(%s)"
    ((last,),) = slow.rows(accepted, started)
    assert float(last) - started < ANSWER_SECONDS
    # The answers themselves need several exchanges with Redis.
    assert time.time() - started < 3 * ANSWER_SECONDS
