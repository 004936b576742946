"""A large session that is deleted or opened while its turn runs, beside a neighbour's stream on the same worker."""

from __future__ import annotations

import asyncio
import urllib.request

import psycopg
import pytest

from tests.live.service import Service
from tests.neighbours.stream import neighbour

pytestmark = pytest.mark.live

EVENTS, IMAGES = 60_000, 40
FILL = """
    WITH filled AS (
        INSERT INTO agent_sessions_event (id, session_id, number, kind, payload, attempt, created_at)
        SELECT gen_random_uuid(), %(session)s, 1000000 + n, 'text_delta', '{"text": "x", "message_id": "m"}', 1, now()
        FROM generate_series(1, %(events)s) AS n
    )
    INSERT INTO agent_sessions_image (id, session_id, media_type, size, digest, data, is_shown, uploaded_at)
    SELECT gen_random_uuid(), %(session)s, 'image/png', 2000000, md5(n::text), decode(repeat('ab', 2000000), 'hex'),
        true, now()
    FROM generate_series(1, %(images)s) AS n
"""


async def test_deleting_a_large_session_delays_nobody(service: Service) -> None:
    async with service.connect("/ws/large") as alice:
        await alice.say("/tokens 2000 20")
        await alice.receive()
        ((session_id,),) = service.rows("SELECT id FROM agent_sessions_session WHERE key = 'large'")
        with psycopg.connect(service.database_url) as connection:
            connection.execute(FILL, {"session": session_id, "events": EVENTS, "images": IMAGES})
        with neighbour(service):
            request = urllib.request.Request(f"{service.url}/api/v1/sessions/large", method="DELETE")
            status, _ = await asyncio.to_thread(service._answer, request)
            assert status == 200
            row = "SELECT 1 FROM agent_sessions_session WHERE id = %s"
            assert service.rows(row, session_id), "the client waited for the rows"
            assert (await alice.until_final())[-1]["error_code"] in ("cancelled", "session_deleted")
            assert service.get("/api/v1/sessions/large")[0] == 404
            async with asyncio.timeout(60):
                while service.rows(row, session_id):  # noqa: ASYNC110 (in a database)
                    await asyncio.sleep(0.2)
    assert service.rows("SELECT count(*) FROM agent_sessions_event WHERE session_id = %s", session_id) == [(0,)]
