"""Streams of one browser: each is a request that stays open for minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from tests.live.service import Service
from tests.neighbours.stream import neighbour

pytestmark = pytest.mark.live

STREAMS = 200


@asynccontextmanager
async def signed_in(service: Service, user: str = "demo") -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=service.url, timeout=30, limits=limits, trust_env=False) as browser:
        page = await browser.get("/login")
        form = {"username": user, "password": service.demo_password, "csrfmiddlewaretoken": page.cookies["csrftoken"]}
        answer = await browser.post("/login", data=form, headers={"Origin": service.url})
        assert answer.status_code == 302
        yield browser


def connections(service: Service) -> int:
    (count,) = service.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )[0]
    return int(count)


async def test_streams_of_a_browser_hold_no_database_connections(service: Service) -> None:
    async with signed_in(service) as browser, AsyncExitStack() as streams:
        await browser.post("/api/v1/sessions", json={"session_id": "many"})
        before = connections(service)
        with neighbour(service):
            for _ in range(STREAMS):
                request = browser.build_request(
                    "GET", "/api/v1/sessions/many/events", headers={"Accept": "text/event-stream"}
                )
                stream = await browser.send(request, stream=True)
                streams.push_async_callback(stream.aclose)
                assert stream.status_code == 200
            # Twelve were enough to take all connections of the pool. Then /health was a 503, and each page a 500.
            assert [(await browser.get(path)).status_code for path in ("/health", "/")] == [200, 200]
            assert connections(service) - before < 10


async def test_waiting_requests_of_a_browser_hold_no_database_connections(service: Service) -> None:
    async with signed_in(service) as browser:

        def ask(name: str, message: str) -> list[asyncio.Task[httpx.Response]]:
            body = {"message": message, "wait": True}
            asking = (browser.post("/api/v1/message", json={**body, "session_id": f"{name}-{n}"}) for n in range(22))
            return [asyncio.create_task(each) for each in asking]

        # The pools of web and worker grow to their usual size.
        await asyncio.gather(*ask("first", "/say Hello."))
        before = connections(service)
        waiting = ask("wait", "/tokens 60 20")
        await asyncio.sleep(1.5)
        assert (await browser.get("/health")).status_code == 200
        assert connections(service) - before < 10
        answers = await asyncio.gather(*waiting)
        # On a busy machine a few may be refused: nothing was stored, and nothing waits for them.
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(refused) < 5, refused[0].text
        assert {answer.json()["status"] for answer in answers if answer not in refused} == {"completed"}
