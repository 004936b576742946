"""One writer for all turns of a worker process: their events are committed together, then published.

A single small transaction every few milliseconds carries the tokens of all streams; a transaction per token and turn
would be the bottleneck. The first piece of a message does not wait. What cannot be committed now is kept and tried
again, and nothing is published that is not committed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from django.db import Error as DatabaseError

from sessions import metrics
from sessions.database import in_log_thread
from sessions.events import hub, log
from sessions.events.log import Addition, Attempt, LoggedEvent, NewEvent
from sessions.models import PIECES, EventKind
from sessions.results import Claim

logger = structlog.get_logger(__name__)

#: What grows piece by piece: the text or the reasoning of a message.
type Stream = tuple[EventKind, uuid.UUID]

#: Seconds between the beginnings of two commits, at least and at most. Between them it is four times what a commit
#: takes, so that a busy machine gets fewer and larger ones; a stream that is alone never waits.
MIN_COMMIT_INTERVAL_SECONDS, MAX_COMMIT_INTERVAL_SECONDS = 0.02, 0.25
#: Seconds before another try when the database did not take a batch.
RETRY_DELAY_SECONDS = 0.25
#: Batches of events that wait to be published; beyond that they are left to the readers' own look at the log.
MAX_UNPUBLISHED_BATCHES = 100


@dataclass(slots=True)
class _Pending:
    """What one turn has said since the last commit."""

    claim: Claim
    texts: dict[Stream, list[str]] = field(default_factory=dict)


class Writer:
    """Collects text of running turns, commits it in batches, publishes what is committed."""

    def __init__(self) -> None:
        self._pending: dict[Attempt, _Pending] = {}
        self._stale: set[Attempt] = set()
        self._started: set[Stream] = set()
        self._work, self._hurry = asyncio.Event(), asyncio.Event()
        # Set when the batch that is being collected, or the one before it, is committed.
        self._collected, self._committed = asyncio.Event(), asyncio.Event()
        self._committed.set()
        self._publishing: asyncio.Queue[list[LoggedEvent]] = asyncio.Queue(maxsize=MAX_UNPUBLISHED_BATCHES)

    def write(self, claim: Claim, kind: EventKind, message_id: uuid.UUID, text: str) -> None:
        """Take a piece of a message; it is committed and shown within milliseconds, in order."""
        stream = (kind, message_id)
        pending = self._pending.setdefault(claim.key, _Pending(claim))
        pending.texts.setdefault(stream, []).append(text)
        if stream not in self._started:
            self._started.add(stream)
            self._hurry.set()
        self._work.set()

    def publish(self, events: list[LoggedEvent]) -> None:
        """Show events that somebody else has committed, behind those that went before them."""
        if events and not self._publishing.full():
            self._publishing.put_nowait(events)

    def is_stale(self, claim: Claim) -> bool:
        """Say whether a write of this attempt was refused; then the attempt has lost its turn."""
        return claim.key in self._stale

    async def flushed(self) -> None:
        """Wait until everything taken so far is committed or refused."""
        batch = self._collected if self._pending else self._committed
        self._hurry.set()
        await batch.wait()

    def forget(self, claim: Claim, message_id: uuid.UUID) -> None:
        """Drop what is remembered of an attempt that has ended."""
        self._started.difference_update((kind, message_id) for kind in PIECES)
        self._stale.discard(claim.key)

    async def run(self) -> None:
        """Commit for ever; cancel to end, after `flushed`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            next_at = 0.0
            while True:
                await self._work.wait()
                if (pause := next_at - time.monotonic()) > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._hurry.wait()
                self._hurry.clear()
                self._work.clear()
                began = time.monotonic()
                await self._commit(self._take())
                self._committed.set()
                took = time.monotonic() - began
                next_at = began + min(max(MIN_COMMIT_INTERVAL_SECONDS, 4 * took), MAX_COMMIT_INTERVAL_SECONDS)

    def _take(self) -> list[Addition]:
        pending, self._pending = self._pending, {}
        self._committed, self._collected = self._collected, asyncio.Event()
        return [
            Addition(
                session_id=entry.claim.session_id,
                turn_id=entry.claim.turn_id,
                attempt=entry.claim.attempt,
                events=tuple(_delta(entry.claim, stream, "".join(texts)) for stream, texts in entry.texts.items()),
            )
            for entry in pending.values()
        ]

    async def _commit(self, additions: Sequence[Addition]) -> None:
        again = False
        while True:
            try:
                logged, refused = await in_log_thread(log.append_all)(additions, again=again)
                break
            except DatabaseError as error:
                # Safe to repeat, also when the COMMIT got through and only its answer was lost: see `append_all`.
                logger.warning("events_not_committed", error=type(error).__name__, turns=len(additions))
                await asyncio.sleep(RETRY_DELAY_SECONDS)
                again = True
        self._stale |= refused
        metrics.events_written.inc(len(logged))
        if refused:
            metrics.writes_refused.inc(len(refused))
        self.publish(logged)

    async def _publish(self) -> None:
        # Apart from committing: a layer that hangs must not hold up the log.
        while True:
            events = await self._publishing.get()
            while not self._publishing.empty():
                events += self._publishing.get_nowait()
            await hub.publish_events(events)


def _delta(claim: Claim, stream: Stream, text: str) -> NewEvent:
    kind, message_id = stream
    return NewEvent(
        kind=kind,
        turn_id=claim.turn_id,
        attempt=claim.attempt,
        payload={"turn_id": str(claim.turn_id), "message_id": str(message_id), "text": text}
        | ({"again": True} if claim.is_repeat else {}),
    )
