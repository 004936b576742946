"""Turns without a worker: each costs only itself, whatever goes wrong with it, and PostgreSQL's clock decides."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.utils import timezone

from sessions.database import clock_skew, rows
from sessions.events import log
from sessions.events.log import Addition, NewEvent
from sessions.models import Approval, EventKind, Session, Turn, TurnStatus, Worker, new_id
from sessions.results import Claim
from sessions.turns import approvals, attempts, inbox, recovery, tool_calls
from sessions.turns.sessions import open_session
from sessions.worker import presence
from tests.sessions import story
from tests.sessions.calls import write_call
from tests.sessions.story import step

#: Refuses all messages of one session, as a text that is too large would be refused.
POISON = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''poison''; END';
    CREATE TRIGGER refuse BEFORE INSERT ON agent_sessions_message
    FOR EACH ROW WHEN (NEW.session_id = '{}' AND NEW.role = 'assistant') EXECUTE FUNCTION refuse()
"""
AHEAD = timedelta(seconds=20)


def accept(session: Session) -> uuid.UUID:
    return inbox.accept_message(session.pk, "Hi").turn_id


def show(claim: Claim, text: str) -> None:
    """Have clients see a piece of the answer."""
    payload = {"turn_id": str(claim.turn_id), "message_id": str(new_id()), "text": text}
    event = NewEvent(kind=EventKind.TEXT_DELTA, turn_id=claim.turn_id, payload=payload, attempt=claim.attempt)
    addition = Addition(session_id=claim.session_id, turn_id=claim.turn_id, attempt=claim.attempt, events=(event,))
    log.append_all([addition])


def lose(turn_id: uuid.UUID) -> None:
    """Let a turn's lease expire, and the pauses of its recovery too."""
    past = timezone.now() - timedelta(seconds=1)
    Turn.objects.filter(pk=turn_id).update(lease_expires_at=past, recover_after=None)


@contextmanager
def locked_row(statement: str, *parameters: object) -> Iterator[None]:
    """Keep what a statement locks, on another connection."""
    parameters_of = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: parameters_of[name] for name in names}) as other:
        other.execute(statement.encode(), parameters)
        yield


@pytest.mark.django_db
def test_a_turn_that_cannot_be_recovered_ends_without_its_text_and_costs_no_other_turn(
    session: Session, bob: User
) -> None:
    poison = story.claim(accept(session))
    Turn.objects.filter(pk=poison.turn_id).update(lost_leases=recovery.MAX_LOST_LEASES - 1)
    show(poison, "Hel")
    with connection.cursor() as cursor:
        cursor.execute(POISON.format(session.pk))
    other = story.claim(accept(open_session(bob.pk, "other")))
    lose(poison.turn_id)
    lose(other.turn_id)
    with pytest.raises(DatabaseError, match="poison"):
        recovery.recover(poison.turn_id)
    found = recovery.expired_turns()
    assert set(found) == {poison.turn_id, other.turn_id}
    assert [recovery.recover_safely(turn_id).ready for turn_id in found].count(other.turn_id) == 1
    assert recovery.expired_turns() == [], "it is tried again too soon"
    for _ in range(recovery.MAX_RECOVERY_FAILURES - 1):
        lose(poison.turn_id)
        (turn_id,) = recovery.expired_turns()
        change = recovery.recover_safely(turn_id)
    turn = Turn.objects.get(pk=poison.turn_id)
    assert (turn.status, turn.error_code) == (TurnStatus.FAILED, "internal_error")
    assert [event.kind for event in change.events] == ["turn_failed"]


@pytest.mark.django_db
def test_a_failed_recovery_waits_longer_each_time(session: Session) -> None:
    turn_id = story.claim(accept(session)).turn_id
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60, 60):
        before = database_now()
        rows(recovery._COUNT_FAILURE, recovery.MIN_FAILURE_PAUSE, recovery.MAX_FAILURE_PAUSE, turn_id)
        recover_after = Turn.objects.get(pk=turn_id).recover_after
        assert recover_after is not None
        assert before <= recover_after - timedelta(seconds=seconds) <= database_now()


@pytest.mark.django_db
def test_a_recovery_that_failed_for_hours_is_still_counted(session: Session) -> None:
    turn_id = story.claim(accept(session)).turn_id
    Turn.objects.filter(pk=turn_id).update(recovery_failures=100)
    pauses = (recovery.MIN_FAILURE_PAUSE, recovery.MAX_FAILURE_PAUSE)
    assert rows(recovery._COUNT_FAILURE, *pauses, turn_id) == [(101,)]


def database_now() -> datetime:
    ((now,),) = rows("SELECT statement_timestamp()")
    assert isinstance(now, datetime)
    return now


@pytest.mark.django_db
def test_two_workers_choose_different_turns(alice: User) -> None:
    turns = [accept(open_session(alice.pk, f"s{i}")) for i in range(4)]
    Turn.objects.update(queued_at=timezone.now() - 2 * recovery.TASK_TIMEOUT)
    first, second = recovery.unclaimed_turns(2), recovery.unclaimed_turns(2)
    assert (len(first), len(second)) == (2, 2)
    assert {*first, *second} == set(turns)
    assert recovery.unclaimed_turns(2) == []


@pytest.mark.django_db(transaction=True)
def test_a_lease_is_renewed_without_waiting_for_a_row(alice: User) -> None:
    held = [story.claim(accept(open_session(alice.pk, f"s{i}"))) for i in range(2)]
    before = dict(Turn.objects.values_list("pk", "lease_expires_at"))
    with locked_row("SELECT FROM agent_sessions_turn WHERE id = %s FOR UPDATE", held[0].turn_id):
        assert attempts.renew([claim.key for claim in held]) == set()
        after = dict(Turn.objects.values_list("pk", "lease_expires_at"))
    assert after[held[0].turn_id] == before[held[0].turn_id]
    assert after[held[1].turn_id] != before[held[1].turn_id]


@pytest.mark.django_db(transaction=True)
def test_an_approval_of_a_locked_session_expires_later(alice: User) -> None:
    session = open_session(alice.pk, "locked")
    story.request(session, write_call("a"))
    Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    (approval_id,) = approvals.expired_approvals()
    with locked_row("SELECT FROM agent_sessions_session WHERE id = %s FOR UPDATE", session.pk):
        assert approvals.expire(approval_id).events == []
    assert approvals.expire(approval_id).ready is not None


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", [AHEAD, -AHEAD])
def test_a_wrong_clock_moves_no_deadline(session: Session, ahead: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + ahead)
    turn_id = accept(session)
    assert abs(clock_skew() - ahead) < timedelta(seconds=5)
    near = (database_now() - timedelta(seconds=5), database_now() + timedelta(seconds=5))
    assert Turn.objects.filter(pk=turn_id, queued_at__range=near).exists()
    held = story.claim(turn_id)
    turn = Turn.objects.get(pk=turn_id)
    assert turn.lease_expires_at is not None
    assert timedelta() < turn.lease_expires_at - database_now() <= attempts.LEASE_DURATION
    assert recovery.expired_turns() == []
    tool_calls.request_tools(held, step(""), [write_call("a")])
    assert Turn.objects.filter(pk=turn_id, waiting_since__range=near).exists()
    left = Approval.objects.get().expires_at - database_now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    presence.report("w", running_turns=0, lock_key=None, clock_skew=ahead)
    assert Worker.alive().filter(clock_skew=ahead).exists()


@pytest.mark.django_db
def test_a_row_of_a_worker_from_the_future_is_no_obstacle() -> None:
    later = timezone.now() + timedelta(minutes=5)
    Worker.objects.create(name="w", started_at=later, seen_at=later, looked_at=later)
    presence.report("w", running_turns=0, lock_key=None, clock_skew=None)
    assert Worker.objects.get().seen_at < later
    assert presence.begin_look("w")
