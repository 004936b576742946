"""Commits the pieces of text of all turns of a worker process together, then publishes them.

One small transaction every few milliseconds carries the tokens of all streams: a transaction for each token and turn
would be the bottleneck. The first piece of a message does not wait. When the database is away, the writer keeps a batch
and tries again. It must never publish an event before it is committed.
"""

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

#: The text or the reasoning of a message.
type Stream = tuple[EventKind, uuid.UUID]

#: Seconds between the beginnings of two commits. Within these limits it is four times what the last commit took, so
#: that a busy machine makes fewer and larger ones.
MIN_COMMIT_INTERVAL_SECONDS, MAX_COMMIT_INTERVAL_SECONDS = 0.02, 0.25
#: Seconds before another try to commit a batch.
RETRY_DELAY_SECONDS = 0.25
#: Batches that wait to be published. Further ones are dropped, and feeds read their events from the log.
MAX_UNPUBLISHED_BATCHES = 100


@dataclass(slots=True)
class _Pending:
    """Text of one attempt that is not committed yet."""

    claim: Claim
    texts: dict[Stream, list[str]] = field(default_factory=dict)


class Writer:
    """Collects text of running turns, commits it in batches and publishes the events."""

    def __init__(self) -> None:
        self._pending: dict[Attempt, _Pending] = {}
        self._stale_attempts: set[Attempt] = set()
        self._streams: set[Stream] = set()
        self._has_work, self._is_urgent = asyncio.Event(), asyncio.Event()
        # Set when the batch that is being collected, or the one before it, is committed.
        self._current_commit, self._last_commit = asyncio.Event(), asyncio.Event()
        self._last_commit.set()
        self._outbox: asyncio.Queue[list[LoggedEvent]] = asyncio.Queue(maxsize=MAX_UNPUBLISHED_BATCHES)

    def write(self, claim: Claim, kind: EventKind, message_id: uuid.UUID, text: str) -> None:
        """Take a piece of a message, to be committed and published within milliseconds, in order."""
        stream = (kind, message_id)
        pending = self._pending.setdefault(claim.key, _Pending(claim))
        pending.texts.setdefault(stream, []).append(text)
        if stream not in self._streams:
            self._streams.add(stream)
            self._is_urgent.set()
        self._has_work.set()

    def publish(self, events: list[LoggedEvent]) -> None:
        """Publish committed events after those that were given before."""
        if events and not self._outbox.full():
            self._outbox.put_nowait(events)

    def is_stale(self, claim: Claim) -> bool:
        """Return whether a write of this attempt was refused because the attempt has lost its turn."""
        return claim.key in self._stale_attempts

    async def flush(self) -> None:
        """Wait until all text given so far is committed or refused."""
        commit = self._current_commit if self._pending else self._last_commit
        self._is_urgent.set()
        await commit.wait()

    def forget(self, claim: Claim, message_id: uuid.UUID) -> None:
        """Free the memory of an attempt that has ended."""
        self._streams.difference_update((kind, message_id) for kind in PIECES)
        self._stale_attempts.discard(claim.key)

    async def run(self) -> None:
        """Commit until cancelled; call `flush` before."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            next_at = 0.0
            while True:
                await self._has_work.wait()
                if (pause := next_at - time.monotonic()) > 0:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._is_urgent.wait()
                self._is_urgent.clear()
                self._has_work.clear()
                start = time.monotonic()
                await self._commit(self._next_batch())
                self._last_commit.set()
                seconds = time.monotonic() - start
                next_at = start + min(max(MIN_COMMIT_INTERVAL_SECONDS, 4 * seconds), MAX_COMMIT_INTERVAL_SECONDS)

    def _next_batch(self) -> list[Addition]:
        pending, self._pending = self._pending, {}
        self._last_commit, self._current_commit = self._current_commit, asyncio.Event()
        return [
            Addition(
                session_id=entry.claim.session_id,
                turn_id=entry.claim.turn_id,
                attempt=entry.claim.attempt,
                events=tuple(_piece(entry.claim, stream, "".join(texts)) for stream, texts in entry.texts.items()),
            )
            for entry in pending.values()
        ]

    async def _commit(self, additions: Sequence[Addition]) -> None:
        is_retry = False
        while True:
            try:
                logged, stale = await in_log_thread(log.append_all)(additions, is_retry=is_retry)
                break
            except DatabaseError as error:
                logger.warning("events_not_committed", error=type(error).__name__, turns=len(additions))
                await asyncio.sleep(RETRY_DELAY_SECONDS)
                is_retry = True
        self._stale_attempts |= stale
        metrics.events_written.inc(len(logged))
        metrics.writes_refused.inc(len(stale))
        self.publish(logged)

    async def _publish(self) -> None:
        # A task of its own: a layer that hangs must not hold up the log.
        while True:
            events = await self._outbox.get()
            while not self._outbox.empty():
                events += self._outbox.get_nowait()
            await hub.publish_events(events)


def _piece(claim: Claim, stream: Stream, text: str) -> NewEvent:
    kind, message_id = stream
    return NewEvent(
        kind=kind,
        turn_id=claim.turn_id,
        attempt=claim.attempt,
        payload={"turn_id": str(claim.turn_id), "message_id": str(message_id), "text": text}
        | ({"again": True} if claim.is_repeat else {}),
    )
