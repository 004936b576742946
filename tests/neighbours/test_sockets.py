"""Sockets that were opened while the database did not answer."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.live.service import Service

pytestmark = pytest.mark.live


async def test_a_silent_client_hears_what_happens_after_an_outage(service: Service) -> None:
    async with service.connect("/ws/patient") as alice:
        await alice.say("/say before")
        await alice.until_final()
        with psycopg.connect(service.database_url) as connection:
            connection.execute("LOCK TABLE agent_sessions_session IN ACCESS EXCLUSIVE MODE")
            async with service.connect("/ws/patient") as listener:
                # Longer than the server waits to open the session.
                await asyncio.sleep(4)
                connection.rollback()
                # It tries again every second.
                await asyncio.sleep(4)
                await alice.say("/say after")
                assert (await listener.until_final())[-1]["content"] == "after"
