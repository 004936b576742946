"""The last text of a step is committed by the transaction that ends the step, once and before the message itself."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from pytest_django import Settings
from structlog.testing import capture_logs

from sessions.database import in_thread
from sessions.events import hub, log
from sessions.models import EventKind, Session, TurnStatus, new_id
from sessions.results import Claim
from sessions.turns import attempts, inbox
from sessions.turns.sessions import open_session
from sessions.worker import retries, runner
from sessions.worker.writer import Writer
from tests.sessions import story
from tests.sessions.worker.worker import look

pytestmark = pytest.mark.django_db(transaction=True)

TEXT, MESSAGE, END = EventKind.TEXT_DELTA, EventKind.MESSAGE_ADDED, EventKind.TURN_COMPLETED


class Log:
    """Counts the transactions of the writer, and can hold one of them up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        append_all = log.append_all

        def counted(*arguments: Any, **options: Any) -> log.Appended:
            self.commits += 1
            self.begun.set()
            assert self.may_end.wait(60)
            return append_all(*arguments, **options)

        monkeypatch.setattr(log, "append_all", counted)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(monkeypatch)


@pytest.fixture
async def writer(settings: Settings) -> AsyncIterator[Writer]:
    settings.CODELAB_MODEL, settings.CODELAB_AGENTS = "scripted", "single"
    it = Writer()
    running = asyncio.create_task(it.run())
    yield it
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def ask(alice: User, writer: Writer, script: str) -> Session:
    session = await in_thread(open_session)(alice.pk, "s")
    turn_id = (await in_thread(inbox.accept_message)(session.pk, script)).turn_id
    await runner.advance(turn_id, worker="w", writer=writer, leases={})
    return session


async def kinds(session: Session) -> list[str]:
    """The kinds of the events since the turn began. No number of the log is missing."""
    events = await look(lambda: log.since(session.pk, 0))
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    found = [event.kind for event in events]
    return found[found.index(EventKind.TURN_STARTED) + 1 :]


async def test_an_answer_that_came_at_once_is_one_transaction(alice: User, writer: Writer, written: Log) -> None:
    session = await ask(alice, writer, "/say Hello again")
    assert await kinds(session) == [TEXT, MESSAGE, END]
    assert written.commits == 0


async def test_text_before_tool_calls_is_stored_with_them(alice: User, writer: Writer, written: Log) -> None:
    session = await ask(alice, writer, '/say Reading.\n/call read_file {"path": "a.txt"}')
    waiting = [EventKind.TOOL_CALL_REQUESTED, EventKind.TURN_WAITING]
    assert await kinds(session) == [TEXT, MESSAGE, *waiting]
    assert written.commits == 0


async def test_text_of_a_failed_step_is_stored_with_its_failure(alice: User, writer: Writer, written: Log) -> None:
    session = await ask(alice, writer, "/say Hello\n/fail unavailable")
    assert await kinds(session) == [TEXT, MESSAGE, EventKind.TURN_FAILED]
    assert written.commits == 0


async def test_text_of_a_refused_end_is_stored_with_the_failure(
    alice: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first verb of a model that repeats itself stores nothing; the second one has the same text."""
    monkeypatch.setattr("agents.loop.MAX_EQUAL_CALLS", 1)
    session = await ask(alice, writer, '/say Reading.\n/call read_file {"path": "a.txt"}')
    assert await kinds(session) == [TEXT, MESSAGE, EventKind.TURN_FAILED]


async def test_last_words_of_the_servers_tools_repeat_no_text(alice: User, writer: Writer) -> None:
    session = await ask(alice, writer, '/say Done.\n/call attempt_completion {"result": "All is well."}')
    events = await look(lambda: log.since(session.pk, 0))
    assert [event.payload["text"] for event in events if event.kind == TEXT] == ["Done.", "All is well."]


async def test_clients_hear_of_an_end_before_the_log_does(alice: User, writer: Writer) -> None:
    session = await in_thread(open_session)(alice.pk, "s")
    turn_id = (await in_thread(inbox.accept_message)(session.pk, "/say Hello")).turn_id
    local_hub, told = hub.current_hub(), list[str]()
    with capture_logs() as lines:
        client = Client(session.pk, lambda: told.extend(line["event"] for line in lines))
        await local_hub.join(client, max_wait_seconds=60)
        try:
            await runner.advance(turn_id, worker="w", writer=writer, leases={})
        finally:
            local_hub.leave(client)
    assert "turn_started" in told
    assert "turn_completed" not in told
    assert lines[-1]["event"] == "turn_completed"


@dataclass(eq=False)
class Client:
    """A subscriber that looks at something when a turn has ended."""

    session_id: uuid.UUID
    look: Callable[[], None]
    after: int = 0

    def receive(self, events: list[log.LoggedEvent]) -> None:
        if any(event.kind == END for event in events):
            self.look()

    def refresh(self) -> None:
        """It reads no log."""


async def begin(alice: User) -> Claim:
    session = await in_thread(open_session)(alice.pk, "s")
    turn_id = (await in_thread(inbox.accept_message)(session.pk, "x")).turn_id
    return await in_thread(story.claim)(turn_id)


async def take_while_writing(
    alice: User, writer: Writer, written: Log
) -> tuple[Claim, asyncio.Task[tuple[log.NewEvent, ...]]]:
    """Take the last piece of a turn while the transaction with its first piece cannot end."""
    claim, message_id = await begin(alice), new_id()
    written.may_end.clear()
    writer.write(claim, TEXT, message_id, "first")
    assert await asyncio.to_thread(written.begun.wait, 60)
    writer.write(claim, TEXT, message_id, " last")
    return claim, asyncio.create_task(writer.take(claim))


async def test_the_end_waits_for_a_commit_that_is_under_way(alice: User, writer: Writer, written: Log) -> None:
    claim, taking = await take_while_writing(alice, writer, written)
    await asyncio.sleep(0.05)
    assert not taking.done()
    written.may_end.set()
    (piece,) = await asyncio.wait_for(taking, 60)
    assert piece.payload["text"] == " last"
    events = await look(lambda: log.since(claim.session_id, 0))
    assert [event.payload["text"] for event in events if event.kind == TEXT] == ["first"]


async def test_an_attempt_that_lost_its_turn_has_no_last_text(alice: User, writer: Writer, written: Log) -> None:
    claim, taking = await take_while_writing(alice, writer, written)
    await in_thread(attempts.cancel)(claim.session_id, claim.turn_id)
    written.may_end.set()
    assert await asyncio.wait_for(taking, 60) == ()
    assert writer.is_stale(claim)


@pytest.mark.parametrize("is_committed", [True, False])
async def test_an_unconfirmed_commit_doubles_no_text(
    alice: User, writer: Writer, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    complete, tries = attempts.complete, list[int]()

    def unconfirmed(*arguments: Any) -> Any:
        tries.append(1)
        if len(tries) == 1 and not is_committed:
            raise OperationalError
        change = complete(*arguments)
        if len(tries) == 1:
            raise OperationalError
        return change

    monkeypatch.setattr(attempts, "complete", unconfirmed)
    monkeypatch.setattr(retries, "STORE_RETRY_SECONDS", 0.01)
    session = await ask(alice, writer, "/say Hello")
    assert await kinds(session) == [TEXT, MESSAGE, END]
    assert len(tries) == 2
    turn = await look(session.turns.get)
    assert turn.status == TurnStatus.COMPLETED
