"""One user reads a long history again and again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.live.service import Service
from tests.neighbours.stream import neighbour

pytestmark = pytest.mark.live

#: 300 messages of 100 KB.
FILL = """
    INSERT INTO agent_sessions_message (id, session_id, turn_id, role, content, number, created_at, tool_calls,
        tool_call_id, client_message_id, interrupted, withdrawn, reasoning)
    SELECT gen_random_uuid(), t.session_id, t.id, 'assistant', repeat(md5(n::text), 3200), 1000 + n, now(), '[]',
        '', '', false, false, ''
    FROM agent_sessions_turn t JOIN agent_sessions_session s ON s.id = t.session_id, generate_series(1, 300) n
    WHERE s.key = %s
"""


def memory_of(service: Service) -> float:
    """Return the MiB of the web process."""
    status = Path(f"/proc/{service.processes['web'].pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def test_ten_readers_of_a_long_history_cost_little_memory(service: Service) -> None:
    service.post("/api/v1/message", {"session_id": "long-read", "message": "/say hi", "wait": True})
    with psycopg.connect(service.database_url) as connection:
        connection.execute(FILL, ("long-read",))
    before = memory_of(service)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, trust_env=False) as client:
        with neighbour(service):
            path = "/api/v1/sessions/long-read/history"
            answers = await asyncio.gather(*(client.get(path) for _ in range(10)))
    pages = [answer.json() for answer in answers]
    assert all(page["has_more"] and page["message_count"] == 302 for page in pages)
    assert all(len(answer.content) < 3 * 1024 * 1024 for answer in answers)
    # Four at once took 600 MiB.
    assert memory_of(service) - before < 100
