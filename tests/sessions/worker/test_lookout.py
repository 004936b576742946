"""What one search, one turn or one approval raises costs nothing else."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from sessions.database import in_thread
from sessions.models import Approval, ApprovalStatus
from sessions.results import Change
from sessions.turns.sessions import open_session
from sessions.worker import process
from sessions.worker.lookout import Lookout
from tests.sessions import story
from tests.sessions.calls import write_call

pytestmark = pytest.mark.django_db(transaction=True)

#: Refuses the end of one approval.
POISON = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''poison''; END';
    CREATE TRIGGER refuse BEFORE UPDATE ON agent_sessions_approval
    FOR EACH ROW WHEN (NEW.id = '{}' AND NEW.status = 'expired') EXECUTE FUNCTION refuse()
"""


def expired_approvals(alice: User) -> list[uuid.UUID]:
    """Make two approvals that have expired, the first of which cannot end."""
    for key in ("poison", "other"):
        story.request(open_session(alice.pk, key), write_call("a"))
    Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    first, second = Approval.objects.order_by("created_at").values_list("pk", flat=True)
    with connection.cursor() as cursor:
        cursor.execute(POISON.format(first))
    return [first, second]


def drop_poison() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")


async def test_an_approval_that_cannot_expire_is_put_off_and_costs_no_other(alice: User) -> None:
    poison, other = await in_thread(expired_approvals)(alice)
    changes: list[Change] = []
    lookout = Lookout("w", capacity=lambda: 1, take=changes.append)
    try:
        await lookout.look()
        await asyncio.gather(*lookout._recoveries.values())
    finally:
        await in_thread(drop_poison)()
    assert (await in_thread(Approval.objects.get)(pk=other)).status == ApprovalStatus.EXPIRED
    assert [change.ready is not None for change in changes] == [True]
    kept = await in_thread(Approval.objects.get)(pk=poison)
    assert kept.status == ApprovalStatus.PENDING
    assert kept.expires_at > timezone.now()


async def test_a_task_of_the_process_that_fails_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "RESTART_DELAY_SECONDS", 0.01)
    starts = 0
    is_running = asyncio.Event()

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts < 3:
            raise KeyError("turn_id")
        is_running.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(process._keep_running(work))
    async with asyncio.timeout(60):
        await is_running.wait()
    task.cancel()
    assert starts == 3
