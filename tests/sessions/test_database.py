"""Functions in threads: connections stay open, survive a restart, and a slow process loses nothing."""

from __future__ import annotations

import asyncio
import time

import pytest
from django.contrib.auth.models import User
from django.db import Error as DatabaseError
from django.db import connection, transaction

from sessions.database import MAX_UNCHECKED_SECONDS, in_log_thread, rows
from sessions.events import log
from sessions.turns.sessions import open_session

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = "SELECT pg_backend_pid()"


def backend() -> int:
    ((pid,),) = rows(BACKEND)
    return int(pid)


async def test_a_connection_stays_open() -> None:
    assert await in_log_thread(backend)() == await in_log_thread(backend)()


async def test_a_connection_that_was_closed_while_idle_is_replaced_without_an_error() -> None:
    pid = await in_log_thread(backend)()
    await in_log_thread(_close)(pid)
    await asyncio.sleep(MAX_UNCHECKED_SECONDS * 1.1)
    assert await in_log_thread(backend)() != pid


async def test_a_connection_is_closed_after_an_error() -> None:
    pid = await in_log_thread(backend)()
    with pytest.raises(DatabaseError):
        await in_log_thread(_close_own)()
    assert await in_log_thread(backend)() != pid


async def test_a_transaction_that_was_idle_for_too_long_is_tried_again(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "IDLE_LOCK_TIMEOUT", "100ms")
    pauses = [1.0, 0.0]

    def rename() -> str:
        with transaction.atomic():
            session = log.lock(open_session(alice.pk, "s").pk)
            time.sleep(pauses.pop(0))
            session.title = "named"
            session.save(update_fields=["title"])
        return session.title

    assert await in_log_thread(rename)() == "named"
    assert pauses == []


async def test_a_transaction_that_is_idle_for_too_long_twice_fails(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "IDLE_LOCK_TIMEOUT", "100ms")
    session_id = (await in_log_thread(open_session)(alice.pk, "s")).pk
    pauses = [1.0, 1.0, 0.0]

    def pause() -> None:
        with transaction.atomic():
            log.lock(session_id)
            time.sleep(pauses.pop(0))
            log.lock(session_id)

    with pytest.raises(DatabaseError):
        await in_log_thread(pause)()
    assert pauses == [0.0]


def _close(pid: int) -> None:
    """Close a connection from another one, as a restart of the server does."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 1000)", [pid])
    finally:
        other.close()


def _close_own() -> None:
    rows("SELECT pg_terminate_backend(pg_backend_pid())")
