"""A web process that is told to stop: it answers what is under way, and takes nothing new."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running

pytestmark = pytest.mark.live

#: Eight seconds, longer than sockets and streams are closed and the port is open.
TOKENS = 160
LONG = f"/tokens {TOKENS} 20"


def completion(*, stream: bool) -> dict[str, object]:
    return {"model": "scripted", "stream": stream, "messages": [{"role": "user", "content": LONG}]}


async def test_answers_under_way_are_finished_and_new_work_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, postgres=POSTGRES, redis=REDIS, CODELAB_DRAIN_SECONDS="90") as own:
        async with httpx.AsyncClient(base_url=own.url, timeout=60, trust_env=False) as client:
            await client.post("/api/v1/sessions", json={"session_id": "followed"})
            whole = asyncio.create_task(client.post("/v1/chat/completions", json=completion(stream=False)))
            streamed = asyncio.create_task(client.post("/v1/chat/completions", json=completion(stream=True)))
            message = {"session_id": "waited", "message": LONG, "wait": True}
            waited = asyncio.create_task(client.post("/api/v1/message", json=message))
            events = {"Accept": "text/event-stream"}
            followed = asyncio.create_task(client.get("/api/v1/sessions/followed/events", headers=events))
            await asyncio.sleep(1.5)
            web = own.processes["web"]
            web.terminate()
            await asyncio.sleep(0.5)
            ready = await client.get("/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
            assert (await client.get("/live")).status_code == 200
            refused = await client.post("/api/v1/message", json={"session_id": "new", "message": "/say hi"})
            assert (refused.status_code, refused.json()["error_code"]) == (503, "shutting_down")
            assert refused.headers["Retry-After"] == "1"
            refused = await client.post("/v1/chat/completions", json=completion(stream=False))
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
            # A stream of events has no end of its own: its client goes on elsewhere.
            assert (await followed).status_code == 200
            text = (await whole).json()["choices"][0]["message"]["content"]
            assert text.split() == [f"t{i}" for i in range(TOKENS)]
            assert (await streamed).text.endswith("data: [DONE]\n\n")
            assert (await waited).json()["status"] == "completed"
        # It does not wait for the whole 90 s.
        assert await asyncio.to_thread(own.processes.pop("web").wait, 60) == 0
        statuses = own.rows("SELECT status FROM agent_sessions_turn")
        assert statuses == [("completed",)] * 3


async def test_an_idle_process_and_a_second_signal_end_at_once(tmp_path: Path) -> None:
    with running(tmp_path, postgres=POSTGRES, redis=REDIS, CODELAB_DRAIN_SECONDS="90") as own:
        web = own.processes.pop("web")
        web.terminate()
        assert await asyncio.to_thread(web.wait, 60) == 0
        own.start("web")
        await asyncio.to_thread(own.wait_until_healthy)
        answer = asyncio.create_task(asyncio.to_thread(answer_of, own))
        await asyncio.sleep(1.5)
        web = own.processes.pop("web")
        web.terminate()
        await asyncio.sleep(0.5)
        web.terminate()
        assert await asyncio.to_thread(web.wait, 60) == 0
        assert (await answer)[0] == 0


def answer_of(service: Service) -> tuple[int, str]:
    return service.post("/v1/chat/completions", completion(stream=False))
