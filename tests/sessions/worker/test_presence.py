"""A worker is dead when its lock has been free for a while, and is never taken for dead when it is not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from sessions.database import rows
from sessions.models import Worker
from sessions.turns import inbox, recovery
from sessions.turns.sessions import open_session
from sessions.worker import presence
from sessions.worker.process import new_name
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def turn_id(alice: User) -> uuid.UUID:
    """A turn that the worker runs."""
    session = open_session(alice.pk, "s")
    return story.claim(inbox.accept_message(session.pk, "Hi").turn_id, worker="w").turn_id


@contextmanager
def heart(key: int) -> Iterator[None]:
    """Hold a worker's lock on a connection of its own."""
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: parameters[name] for name in names}, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [key])
        presence.report("w", running_turns=1, lock_key=key, clock_skew=None)
        yield
    # PostgreSQL's process for the connection ends a moment after the connection.
    while rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", key):
        time.sleep(0.01)


def let_pass(timeout: timedelta) -> None:
    """Move the moment when the lock was first found free into the past."""
    Worker.objects.filter(unlocked_since__isnull=False).update(unlocked_since=timezone.now() - 2 * timeout)


def look() -> tuple[int, bool]:
    lost, is_alarmed = presence.end_leases_of_dead_workers()
    return len(lost), is_alarmed


def test_a_worker_whose_lock_stays_free_loses_its_leases(turn_id: uuid.UUID) -> None:
    with heart(7):
        assert look() == (0, False)
    assert look() == (0, True), "it was dead at the first look"
    assert look() == (0, True), "it was dead at once"
    let_pass(presence.UNLOCKED_TIMEOUT)
    assert look() == (1, True)
    assert recovery.expired_turns() == [turn_id]
    assert recovery.recover(turn_id).ready == turn_id
    assert look() == (0, True)
    assert look() == (0, False), "it is asked after for ever"


@pytest.mark.usefixtures("turn_id")
def test_a_worker_that_was_cut_off_and_is_back_keeps_its_leases() -> None:
    with heart(7):
        pass
    assert look() == (0, True)
    with heart(8):
        let_pass(presence.UNLOCKED_TIMEOUT)
        assert look() == (0, False)


@pytest.mark.usefixtures("turn_id")
def test_nobody_is_dead_right_after_a_restart_of_postgresql() -> None:
    """All connections are new, and workers may need a moment to be back."""
    with heart(7):
        pass
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # only PostgreSQL's class has it
    look()
    let_pass(presence.YOUNG_UNLOCKED_TIMEOUT)
    assert look() == (0, True)
    Worker.objects.update(seen_at=timezone.now() - 2 * presence.YOUNG_SILENCE)
    assert look() == (1, True)


@pytest.mark.usefixtures("turn_id")
def test_a_worker_behind_a_pooler_is_judged_by_its_leases() -> None:
    presence.report("w", running_turns=1, lock_key=None, clock_skew=None)
    assert look() == (0, False)
    key = presence.take_lock()
    assert key is not None
    made_up = -1
    assert rows(presence._LOCK, made_up, key) == [(None,)]


def test_one_worker_at_a_time_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "MIN_LOOK_INTERVAL", presence.YOUNG_LOOK_INTERVAL)
    for name in ("a", "b"):
        presence.report(name, running_turns=0, lock_key=None, clock_skew=None)
    assert [presence.begin_look(name) for name in "abab"] == [True, False, False, False]
    Worker.objects.update(looked_at=timezone.now() - 2 * presence.YOUNG_LOOK_INTERVAL)
    assert [presence.begin_look(name) for name in "ba"] == [True, False]


def test_a_worker_in_a_restarted_container_is_another_worker() -> None:
    """Its host and its process id are those of the one before."""
    assert new_name() != new_name()
