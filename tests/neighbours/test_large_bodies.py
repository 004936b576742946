"""Large bodies of one caller, also beyond their limits."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running
from tests.neighbours.stream import neighbour
from tests.neighbours.test_streams import signed_in

pytestmark = pytest.mark.live


def body_of(messages: int, parts: int) -> bytes:
    content = [{"type": "text", "text": "some words"}] * parts
    return json.dumps({"model": "scripted", "messages": [{"role": "user", "content": content}] * messages}).encode()


def memory_of(service: Service) -> float:
    """Return the MiB that the web process has at most used."""
    status = Path(f"/proc/{service.processes['web'].pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def test_bodies_of_many_parts_delay_nobody(service: Service) -> None:
    data = body_of(3600, 100)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
        with neighbour(service):
            answers = await asyncio.gather(*(client.post("/v1/chat/completions", content=data) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [400] * 4
    assert "too many values" in answers[0].json()["error"]["message"]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Start a service with low limits."""
    environment = {"CODELAB_LIMIT_TURNS": "1/day", "CODELAB_LIMIT_READS": "5/hour", "CODELAB_OPEN_ACCESS_USER": ""}
    with running(tmp_path_factory.mktemp("limited"), postgres=POSTGRES, redis=REDIS, **environment) as it:
        yield it


async def test_bodies_beyond_a_limit_are_refused_before_they_are_decoded(limited: Service) -> None:
    async with signed_in(limited) as browser:
        small = {"model": "scripted", "messages": [{"role": "user", "content": "/say hi"}]}
        assert (await browser.post("/v1/chat/completions", json=small)).status_code == 200
        data, before, started_at = body_of(3600, 100), memory_of(limited), cpu_seconds(limited)
        answers = await asyncio.gather(*(browser.post("/v1/chat/completions", content=data) for _ in range(4)))
        assert [answer.status_code for answer in answers] == [429] * 4
        # It was 3.9 s and 500 MiB.
        assert cpu_seconds(limited) - started_at < 2
        assert memory_of(limited) - before < 150


async def test_reading_is_counted(limited: Service) -> None:
    async with signed_in(limited) as browser:
        statuses = [(await browser.get("/api/v1/sessions")).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]
        answer = await browser.get("/api/v1/sessions")
        assert answer.json()["error_code"] == "rate_limited"
        assert int(answer.headers["Retry-After"]) > 0


def cpu_seconds(service: Service) -> float:
    fields = Path(f"/proc/{service.processes['web'].pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
