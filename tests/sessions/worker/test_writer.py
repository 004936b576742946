from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.utils import timezone

from sessions.database import in_thread
from sessions.events import log
from sessions.models import EventKind, Turn, new_id
from sessions.results import Claim
from sessions.turns import attempts, inbox, recovery
from sessions.turns.sessions import open_session
from sessions.worker.writer import Writer
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
    await writer.flush()
    written = await in_thread(texts)(held)
    assert "".join(written) == "".join(f"{i} " for i in range(100))
    assert written[0].startswith("0 ")
    assert len(written) < 50, "one commit for each piece"
    assert not writer.is_stale(held)


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
    await writer.flush()
    assert await in_thread(texts)(new) == ["new "]
    assert writer.is_stale(old)
    assert not writer.is_stale(new)
