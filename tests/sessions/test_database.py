"""Functions in threads: connections stay open, survive a restart, and a slow process loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import LiteralString

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from sessions.database import MAX_UNCHECKED_SECONDS, check_clock, describe, in_log_thread, in_thread, is_temporary, rows
from sessions.events import log
from sessions.statements import prepared
from sessions.turns.sessions import open_session
from sessions.worker.heartbeat import _own_connection

pytestmark = pytest.mark.django_db(transaction=True)

BACKEND = "SELECT pg_backend_pid()"


def backend() -> int:
    ((pid,),) = rows(BACKEND)
    return int(pid)


LIMITS = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"


def test_every_connection_has_time_limits() -> None:
    assert rows(LIMITS) == [("10s", "5s")]
    own = _own_connection()
    with own.cursor() as cursor:
        cursor.execute(LIMITS)
        assert cursor.fetchall() == [("5s", "500ms")]
    own.close()


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
    pauses = [1.0, 0.0]

    def rename() -> str:
        # The second try may take longer on a busy machine.
        monkeypatch.setattr(log, "IDLE_LOCK_TIMEOUT", "100ms" if pauses[0] else "60s")
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


async def test_a_statement_is_planned_anew_after_a_migration() -> None:
    """The next version may widen a column while processes of this one run."""

    def run(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    def read() -> list[tuple[str]]:
        with transaction.atomic():
            return prepared("SELECT name FROM widened")

    await in_thread(run)("CREATE TABLE widened AS SELECT 'Bob'::varchar(3) AS name")
    try:
        assert await in_log_thread(read)() == [("Bob",)]
        await in_thread(run)("ALTER TABLE widened ALTER COLUMN name TYPE varchar(5)")
        assert await in_log_thread(read)() == [("Bob",)]
    finally:
        await in_thread(run)("DROP TABLE widened")


def test_many_connections_that_were_closed_while_idle_delay_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool itself pauses for a second, then for two, while it meets them, and fails after 2.5 s."""
    pauses: list[float] = []
    monkeypatch.setattr("psycopg_pool.pool.sleep", pauses.append)
    _borrow(5)
    rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    _borrow(1)
    assert sum(pauses) == 0


def _borrow(count: int) -> None:
    """Let threads use connections of the pool at the same time and give them back."""
    together = Barrier(count)

    def borrow() -> None:
        backend()
        together.wait(30)
        connection.close()

    with ThreadPoolExecutor(count) as threads:
        for each in [threads.submit(borrow) for _ in range(count)]:
            each.result()


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


@pytest.mark.parametrize(
    ("statement", "temporary"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
        ("SET LOCAL statement_timeout = 20; SELECT pg_sleep(5)", True),
        ("SET LOCAL idle_in_transaction_session_timeout = 20; SELECT 1", True),
        ("SET LOCAL TRANSACTION READ ONLY; DELETE FROM agent_sessions_event", True),
        ("SELECT '\\u0000'::jsonb", False),
        ("SELECT 1 / 0", False),
        ("SELECT no_column FROM agent_sessions_turn", False),
        ("SELECT repeat('[', 100000)::json", False),
        ("INSERT INTO agent_sessions_worker (name) VALUES (NULL)", False),
    ],
)
async def test_only_errors_that_pass_are_worth_another_try(statement: LiteralString, temporary: bool) -> None:
    def run() -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(statement)
            if "idle" in statement:
                time.sleep(0.5)

    with pytest.raises(DatabaseError) as caught:
        await in_log_thread(run)()
    assert is_temporary(caught.value) == temporary
    assert "no_column" not in str(describe(caught.value))


async def test_functions_that_wait_for_a_locked_row_hold_no_thread(alice: User) -> None:
    """More of them than there are threads; all go on when the row is free."""
    session_id = (await in_thread(open_session)(alice.pk, "s")).pk

    def rename() -> None:
        with transaction.atomic():
            log.lock(session_id)

    parameters = {**connection.get_connection_params(), "dbname": connection.settings_dict["NAME"]}
    with psycopg.connect(**parameters) as other:
        other.execute("SELECT 1 FROM agent_sessions_session WHERE id = %s FOR UPDATE", [session_id])
        waiting = [asyncio.create_task(_run(in_thread(rename))) for _ in range(20)]
        await asyncio.sleep(0.3)
        # All threads are free: the 20 wait without one, and for 5 s at most.
        async with asyncio.timeout(4):
            await in_thread(backend)()
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def _run(function: Callable[[], Awaitable[None]]) -> None:
    await function()


@pytest.mark.parametrize(("seconds", "is_said"), [(20, True), (-20, True), (0, False)])
async def test_a_process_says_at_its_start_that_its_clock_is_wrong(
    seconds: int, is_said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(seconds=seconds))
    await check_clock()
    assert ("clock_differs_from_database" in caplog.text) == is_said
