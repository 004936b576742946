from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from sessions.database import in_thread
from sessions.events import log
from sessions.models import EventKind, Turn, new_id
from sessions.results import Claim
from sessions.turns import attempts, inbox, recovery
from sessions.turns.sessions import open_session
from sessions.worker import writer as writer_module
from sessions.worker.writer import Writer, WriteRefused, commit_interval
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    it = Writer()
    running = asyncio.create_task(it.run())
    yield it
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    layer: Any = get_channel_layer()
    await layer.flush()


def claimed(turn_id: uuid.UUID) -> Claim:
    return story.claim(turn_id)


async def begin(alice: User, key: str) -> Claim:
    session = await in_thread(open_session)(alice.pk, key)
    accepted = await in_thread(inbox.accept_message)(session.pk, "x")
    return await in_thread(claimed)(accepted.turn_id)


def other_connection() -> psycopg.Connection[Any]:
    return psycopg.connect(**{**connection.get_connection_params(), "dbname": connection.settings_dict["NAME"]})


@contextmanager
def locked(held: Claim) -> Iterator[None]:
    """Lock a session from another connection, as a frozen process or a person at a console does."""
    with other_connection() as other:
        other.execute("SELECT 1 FROM agent_sessions_session WHERE id = %s FOR UPDATE", [held.session_id])
        yield


@contextmanager
def poisoned(held: Claim) -> Iterator[None]:
    """Let the database refuse the pieces of a session."""
    with other_connection() as other:
        other.execute(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN
                RAISE EXCEPTION 'poison' USING ERRCODE = 'data_exception';
            END $$ LANGUAGE plpgsql;
            CREATE TRIGGER poison BEFORE INSERT ON agent_sessions_event FOR EACH ROW
            WHEN (NEW.session_id = '{held.session_id}' AND NEW.kind = 'text_delta') EXECUTE FUNCTION refuse()
            """.encode()
        )
    try:
        yield
    finally:
        with other_connection() as other:
            other.execute("DROP TRIGGER poison ON agent_sessions_event")
            other.execute("DROP FUNCTION refuse()")


def texts(held: Claim) -> list[str]:
    events = log.since(held.session_id, 0)
    return [event.payload["text"] for event in events if event.kind == EventKind.TEXT_DELTA]


async def test_pieces_are_committed_in_batches_and_in_order_and_the_first_one_at_once(
    alice: User, writer: Writer
) -> None:
    session = await in_thread(open_session)(alice.pk, "writer")
    accepted = await in_thread(inbox.accept_message)(session.pk, "x")
    held, message_id = await in_thread(claimed)(accepted.turn_id), new_id()
    for i in range(100):
        writer.write(held, EventKind.TEXT_DELTA, message_id, f"{i} ")
        await asyncio.sleep(0.001)
    await writer.flush(held)
    written = await in_thread(texts)(held)
    assert "".join(written) == "".join(f"{i} " for i in range(100))
    assert written[0].startswith("0 ")
    assert len(written) < 50, "one commit for each piece"
    assert not writer.is_stale(held)


async def test_the_first_piece_of_a_message_takes_no_other_text_along(
    alice: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MIN_COMMIT_INTERVAL_SECONDS", 120.0)
    monkeypatch.setattr(writer_module, "MAX_COMMIT_INTERVAL_SECONDS", 120.0)
    old, new, message_id = await begin(alice, "old"), await begin(alice, "new"), new_id()
    writer.write(old, EventKind.TEXT_DELTA, message_id, "one ")
    await asyncio.wait_for(writer.flush(old), 60)
    writer.write(old, EventKind.TEXT_DELTA, message_id, "two")
    writer.write(new, EventKind.TEXT_DELTA, new_id(), "other")
    async with asyncio.timeout(60):
        while await in_thread(texts)(new) != ["other"]:  # noqa: ASYNC110 (the writer has no event for it)
            await asyncio.sleep(0.01)
    assert await in_thread(texts)(old) == ["one "]


def test_many_streams_and_slow_commits_make_fewer_and_larger_pieces() -> None:
    assert commit_interval(1, 0.002) == 0.01
    assert commit_interval(1, 0.02) == 0.02, "one stream waits for the commit before it, and no longer"
    assert commit_interval(8, 0.02) == 0.08
    assert commit_interval(64, 0.002) == pytest.approx(0.0512)
    assert commit_interval(1000, 0.002) == commit_interval(8, 1) == 0.25


async def test_the_writer_refuses_only_the_stale_attempt_of_two_at_one_turn(alice: User, writer: Writer) -> None:
    """A lease can expire in a slow process, which then claims the same turn again."""
    session = await in_thread(open_session)(alice.pk, "attempts")
    accepted = await in_thread(inbox.accept_message)(session.pk, "x")
    old = await in_thread(claimed)(accepted.turn_id)
    await in_thread(Turn.objects.filter(pk=old.turn_id).update)(
        lease_expires_at=timezone.now() - attempts.LEASE_DURATION
    )
    await in_thread(recovery.recover)(old.turn_id)
    new = await in_thread(claimed)(accepted.turn_id)
    for held, text in ((old, "old "), (new, "new "), (old, "older")):
        writer.write(held, EventKind.TEXT_DELTA, new_id(), text)
    await writer.flush(old)
    await writer.flush(new)
    assert await in_thread(texts)(new) == ["new "]
    assert writer.is_stale(old)
    assert not writer.is_stale(new)


async def test_a_locked_session_delays_only_its_own_text(alice: User, writer: Writer) -> None:
    alone, beside = await begin(alice, "locked"), await begin(alice, "free")
    ids = {alone.key: new_id(), beside.key: new_id()}
    with locked(alone):
        for i in range(5):
            for held in (alone, beside):
                writer.write(held, EventKind.TEXT_DELTA, ids[held.key], f"{i} ")
            async with asyncio.timeout(60):
                await writer.flush(beside)
            assert "".join(await in_thread(texts)(beside)) == "".join(f"{n} " for n in range(i + 1))
        assert await in_thread(texts)(alone) == []
        waiting = asyncio.create_task(writer.flush(alone))
        await asyncio.sleep(0.1)
        assert not waiting.done()
    async with asyncio.timeout(60):
        await waiting
    assert "".join(await in_thread(texts)(alone)) == "0 1 2 3 4 "


async def test_text_of_a_locked_session_stays_bounded(
    alice: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_PENDING_CHARACTERS", 100)
    held, message_id = await begin(alice, "locked"), new_id()
    with locked(held):
        writer.write(held, EventKind.TEXT_DELTA, message_id, "a" * 101)
        await asyncio.sleep(0.1)
        await asyncio.wait_for(writer.make_room(held), 60)
        writer.write(held, EventKind.TEXT_DELTA, message_id, "b" * 101)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.make_room(held), 0.2)
    await asyncio.wait_for(writer.make_room(held), 60)
    assert "".join(await in_thread(texts)(held)) == "a" * 101 + "b" * 101


async def test_text_that_cannot_be_stored_ends_its_own_attempt_only(alice: User, writer: Writer) -> None:
    claims = [await begin(alice, f"s{i}") for i in range(7)]
    poison = claims[3]
    with poisoned(poison):
        async with asyncio.timeout(60):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as step:
                    writer.end_with(poison, step)
                    for held in claims:
                        writer.write(held, EventKind.TEXT_DELTA, new_id(), "text")
                    await asyncio.Event().wait()
            for held in claims:
                await writer.flush(held)
    with pytest.raises(WriteRefused) as refused:
        writer.check(poison)
    assert isinstance(refused.value.__cause__, DataError)
    for held in claims:
        assert await in_thread(texts)(held) == ([] if held is poison else ["text"])


async def test_what_an_unconfirmed_commit_wrote_is_not_written_again(
    alice: User, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that committed may still hold the session when the batch is tried again."""
    held, append_all, tries = await begin(alice, "s"), log.append_all, list[bool]()

    def unconfirmed(additions: Any, *, is_retry: bool = False) -> log.Appended:
        tries.append(is_retry)
        if len(tries) == 2:
            return log.Appended(skipped={held.key})
        appended = append_all(additions, is_retry=is_retry)
        if len(tries) == 1:
            raise OperationalError
        return appended

    monkeypatch.setattr(log, "append_all", unconfirmed)
    writer.write(held, EventKind.TEXT_DELTA, new_id(), "once")
    await asyncio.wait_for(writer.flush(held), 60)
    assert await in_thread(texts)(held) == ["once"]
    assert tries == [False, True, True]
