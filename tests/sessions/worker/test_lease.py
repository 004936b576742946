"""A step that is cancelled for two reasons is cancelled once, and not when its end is being stored."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from sessions import database
from sessions.database import in_thread
from sessions.events.log import Attempt
from sessions.turns import attempts, inbox
from sessions.turns.sessions import open_session
from sessions.worker import runner
from sessions.worker.lease import Lease
from sessions.worker.writer import Writer


async def test_a_second_cancellation_does_not_interrupt_what_the_first_leads_to() -> None:
    records: list[str] = []

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            records.append("costs")

    lease = Lease(asyncio.create_task(step()))
    await asyncio.sleep(0)
    for _ in range(3):
        lease.cancel()
        await asyncio.sleep(0)
    await lease.task
    assert records == ["costs"]


@pytest.mark.django_db(transaction=True)
async def test_a_step_that_has_just_ended_is_not_abandoned(
    alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat may find that a turn runs no longer before the step hears that its end was stored."""
    settings.CODELAB_MODEL, settings.CODELAB_AGENTS = "scripted", "single"
    monkeypatch.setattr(database, "THREAD_LOCK_TIMEOUT", "20s")
    session = await in_thread(open_session)(alice.pk, "ending")
    message = '/wait 0.5\n/call calculator {"expr": "6*7"}'
    turn_id = (await in_thread(inbox.accept_message)(session.pk, message)).turn_id
    leases: dict[Attempt, Lease] = {}
    running = asyncio.create_task(runner.advance(turn_id, worker="w", writer=Writer(), leases=leases))
    async with asyncio.timeout(60):
        while not leases:  # noqa: ASYNC110 (filled by the worker)
            await asyncio.sleep(0.01)
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: parameters[name] for name in names}) as other, ThreadPoolExecutor(1) as heartbeat:
        other.execute("SELECT FROM agent_sessions_session WHERE id = %s FOR UPDATE", [session.pk])
        await asyncio.sleep(1.5)
        other.rollback()
        # The event loop stands still meanwhile, so the step hears nothing.
        for attempt in heartbeat.submit(find_lost, list(leases)).result():
            leases[attempt].abandon()
    assert (await running).ready == turn_id


def find_lost(leases: list[Attempt]) -> set[Attempt]:
    deadline = time.monotonic() + 60
    while not (lost := attempts.renew(leases)):
        assert time.monotonic() < deadline
    connection.close()
    return lost
