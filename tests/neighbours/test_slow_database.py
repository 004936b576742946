"""A PostgreSQL that answers late costs no worker its leases, however many turns it runs."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chaos.proxy import Link
from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running
from tests.neighbours.workers import name_of, start_worker

pytestmark = pytest.mark.live

TURNS, SECONDS = 64, 13
#: Each way, so that an answer takes 100 ms more.
DELAY_SECONDS = 0.05
#: Steps of a turn that keep the database busy.
MESSAGE = '/wait 0.6\n/call calculator {"expr": "6*7"}\n' * 30


async def test_many_turns_on_a_slow_database_lose_no_lease(tmp_path: Path) -> None:
    port = urlsplit(POSTGRES).port
    assert port
    link = Link("postgres", lambda: port)
    await link.open()
    with running(tmp_path, postgres=POSTGRES, redis=REDIS, CODELAB_WORKER_CONCURRENCY="256") as service:
        try:
            slow = service.database_url.replace(f":{port}/", f":{link.port}/")
            await asyncio.to_thread(start_worker, service, "slow", DATABASE_URL=slow)
            await asyncio.to_thread(service.stop, "worker")
            async with AsyncExitStack() as stack:
                for i in range(TURNS):
                    client = await stack.enter_async_context(service.connect(f"/ws/slow-{i}"))
                    await client.say(MESSAGE)
                await asyncio.sleep(2)
                link.delay = DELAY_SECONDS
                ages = await asyncio.to_thread(heartbeat_ages, service, name_of(service, "slow"))
                link.delay = 0.0
            assert service.rows("SELECT sum(lost_leases) FROM agent_sessions_turn") == [(0,)]
            assert "turn_lost" not in service.log_of("slow")
            # A heartbeat comes each second. A lease lasts for 12 s.
            assert max(ages) < 8
        finally:
            service.stop("slow")
            await link.close()


def heartbeat_ages(service: Service, worker: str) -> list[float]:
    """Ask again and again how old the worker's latest heartbeat is."""
    statement = "SELECT extract(epoch FROM now() - seen_at) FROM agent_sessions_worker WHERE name = %s"
    until, ages = time.monotonic() + SECONDS, []
    while time.monotonic() < until:
        ages.append(float(service.rows(statement, worker)[0][0]))
        time.sleep(0.2)
    return ages
