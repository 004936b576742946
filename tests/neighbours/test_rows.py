"""Rows of one session that are locked, or that the database refuses, beside a neighbour's stream on the same worker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.live.service import Service
from tests.neighbours.stream import neighbour

pytestmark = pytest.mark.live


@contextmanager
def locked(service: Service, key: str) -> Iterator[None]:
    """Lock a session, as a frozen process or a person at a console does."""
    with psycopg.connect(service.database_url) as connection:
        connection.execute("SELECT 1 FROM agent_sessions_session WHERE key = %s FOR UPDATE", [key])
        yield


@contextmanager
def poisoned(service: Service, key: str) -> Iterator[None]:
    """Let the database refuse all text of a session: its pieces, and the message made of them."""
    ((session_id,),) = service.rows("SELECT id FROM agent_sessions_session WHERE key = %s", key)
    refuse = f"""
        CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN
            RAISE EXCEPTION 'poison' USING ERRCODE = 'data_exception';
        END $$ LANGUAGE plpgsql;
        CREATE TRIGGER poison BEFORE INSERT ON agent_sessions_event FOR EACH ROW WHEN (
            NEW.session_id = '{session_id}' AND NEW.kind IN ('text_delta', 'message_added')
        ) EXECUTE FUNCTION refuse();
    """
    with psycopg.connect(service.database_url) as connection:
        connection.execute(refuse.encode())
    try:
        yield
    finally:
        with psycopg.connect(service.database_url) as connection:
            connection.execute("DROP TRIGGER poison ON agent_sessions_event")
            connection.execute("DROP FUNCTION refuse()")


async def test_a_locked_session_delays_only_its_own_text(service: Service) -> None:
    async with service.connect("/ws/locked") as alice:
        await alice.say("/tokens 2000 50")
        await alice.receive()
        with neighbour(service):
            with locked(service, "locked"):
                await asyncio.sleep(5)
            # All of it comes, in order.
            number = 0
            async with asyncio.timeout(60):
                while number < 250:
                    frame = await alice.receive()
                    assert frame["type"] == "assistant_message"
                    assert frame["number"] > number
                    number = frame["number"]
        await alice.send({"type": "cancel"})
        assert (await alice.until_final())[-1]["error_code"] == "cancelled"
    assert service.rows(
        "SELECT attempt FROM agent_sessions_turn t JOIN agent_sessions_session s ON s.id = session_id"
        " WHERE key = 'locked'"
    ) == [(1,)]


async def test_requests_that_wait_for_a_locked_session_hold_no_thread(service: Service) -> None:
    """More of them than a process has threads for the database."""
    async with service.connect("/ws/wanted") as alice:
        await alice.say("/say here")
        await alice.until_final()
    body = {"session_id": "wanted", "message": "/say too late"}
    with neighbour(service), ThreadPoolExecutor(max_workers=24) as senders, locked(service, "wanted"):
        waiting = [senders.submit(service.post, "/api/v1/message", body) for _ in range(24)]
        await asyncio.sleep(0.3)
        for _ in range(5):
            begun_at = time.monotonic()
            status, _ = service.get("/api/v1/sessions?limit=1")
            # A request that waits for the row gives up after 5 s.
            assert (status, time.monotonic() - begun_at < 4) == (200, True)
        for each in waiting:
            status, text = each.result()
            assert (status, json.loads(text)["error_code"]) == (503, "storage_unavailable")


async def test_a_turn_whose_text_cannot_be_stored_fails_within_seconds(service: Service) -> None:
    async with service.connect("/ws/poison") as alice:
        await alice.say("/tokens 2000 20")
        await alice.receive()
        with neighbour(service), poisoned(service, "poison"):
            # Not when its lease is over, which is after 12 s.
            async with asyncio.timeout(10):
                frames = await alice.until_final()
            assert frames[-1]["error_code"] == "internal_error"
            await asyncio.sleep(0.5)
    lines = [line for line in service.log_of("worker").splitlines() if '"turn_crashed"' in line]
    assert len([line for line in lines if frames[-1]["turn_id"] in line]) == 1
