"""Commits the pieces of text of all turns of a worker process together, then publishes them.

One small transaction every few milliseconds carries the tokens of all streams: a transaction for each token and turn
would be the bottleneck. The first piece of a message does not wait, and the last ones go with the transaction that ends
the step. When the database is away, the writer keeps a batch
and tries again. It must never publish an event before it is committed.

A turn costs no other turn anything: text of a locked session waits for a later batch, and a batch that the database
refuses is split until the one attempt is found whose text cannot be stored. That attempt ends.
"""

import asyncio
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from django.db import Error as DatabaseError

from sessions import metrics
from sessions.database import in_log_thread, is_temporary
from sessions.errors import StaleAttempt
from sessions.events import hub, log
from sessions.events.log import Addition, Attempt, LoggedEvent, NewEvent
from sessions.models import PIECES, EventKind
from sessions.results import Claim

logger = structlog.get_logger(__name__)

#: The text or the reasoning of a message.
type Stream = tuple[EventKind, uuid.UUID]

#: Seconds between the beginnings of two commits, at least and at most: an idle machine makes 100 commits a second. And
#: for each turn whose text a commit carries, because a piece costs all processes as much as to read a few tokens.
MIN_COMMIT_INTERVAL_SECONDS, MAX_COMMIT_INTERVAL_SECONDS, SECONDS_FOR_EACH_TURN = 0.01, 0.25, 0.0008
#: The same in multiples of what the last commit took, at most. One turn waits for no more than the commit before it.
MAX_COMMITS = 4
#: Seconds before another try, when the database is away and when sessions are locked.
RETRY_DELAY_SECONDS, LOCKED_DELAY_SECONDS = 0.25, 0.05
#: Batches that wait to be published. Further ones are dropped, and feeds read their events from the log.
MAX_UNPUBLISHED_BATCHES = 100
#: Characters of one attempt that wait to be committed. Beyond that its model is read no further.
MAX_PENDING_CHARACTERS = 256 * 1024


class WriteRefused(Exception):
    """The database has refused the text of an attempt, and would refuse it again."""


@dataclass(slots=True)
class _Draft:
    """Text of one attempt that is not committed yet."""

    claim: Claim
    #: Ends the step when nothing of it can be stored any more.
    timeout: asyncio.Timeout | None = None
    texts: dict[Stream, list[str]] = field(default_factory=dict)
    characters: int = 0
    #: What the last batch carried, until it is known to be written or refused. Newer text waits.
    addition: Addition | None = None
    #: It does not wait for the next commit of all text.
    is_urgent: bool = False
    is_stale: bool = False
    error: Exception | None = None
    #: Set while no text waits.
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def next_addition(self) -> Addition | None:
        """Return the events to write next, if any."""
        if self.addition is None and self.texts:
            claim = self.claim
            self.addition = Addition(
                session_id=claim.session_id, turn_id=claim.turn_id, attempt=claim.attempt, events=self.take()
            )
        self.is_urgent = False
        return self.addition

    def take(self) -> tuple[NewEvent, ...]:
        """Return the text that no addition has, as events, and leave it to the caller."""
        events = tuple(_piece(self.claim, stream, "".join(texts)) for stream, texts in self.texts.items())
        self.texts, self.characters = {}, 0
        return events

    def settle(self) -> None:
        """Record that the last addition is written."""
        self.addition = None
        if not self.texts:
            self.settled.set()

    def end(self, *, error: Exception | None = None) -> None:
        """Drop all text, because nothing of the attempt can be stored, and end its step."""
        self.is_stale, self.error = error is None, error
        self.texts, self.characters, self.addition = {}, 0, None
        self.settled.set()
        if self.timeout is not None:
            # It may have ended already.
            with suppress(RuntimeError):
                self.timeout.reschedule(asyncio.get_running_loop().time())


class Writer:
    """Collects text of running turns, commits it in batches and publishes the events."""

    def __init__(self) -> None:
        self._drafts: dict[Attempt, _Draft] = {}
        self._streams: set[Stream] = set()
        self._has_work, self._is_urgent = asyncio.Event(), asyncio.Event()
        #: Some events of the next batch may be committed: a COMMIT was not confirmed.
        self._is_uncertain = False
        self._outbox: asyncio.Queue[list[LoggedEvent]] = asyncio.Queue(maxsize=MAX_UNPUBLISHED_BATCHES)

    def end_with(self, claim: Claim, timeout: asyncio.Timeout) -> None:
        """Let the timeout of a step expire as soon as its attempt cannot write any more. Then `check` says why."""
        self._draft(claim).timeout = timeout

    def write(self, claim: Claim, kind: EventKind, message_id: uuid.UUID, text: str) -> None:
        """Take a piece of a message, to be committed and published within milliseconds, in order."""
        draft = self._draft(claim)
        if draft.is_stale or draft.error:
            return
        stream = (kind, message_id)
        draft.texts.setdefault(stream, []).append(text)
        draft.characters += len(text)
        draft.settled.clear()
        if stream not in self._streams:
            self._streams.add(stream)
            self._hurry(draft)
        self._has_work.set()

    def _hurry(self, draft: _Draft) -> None:
        draft.is_urgent = True
        self._is_urgent.set()

    def _draft(self, claim: Claim) -> _Draft:
        draft = self._drafts.get(claim.key)
        if draft is None:
            draft = self._drafts[claim.key] = _Draft(claim)
            draft.settled.set()
        return draft

    def publish(self, events: list[LoggedEvent]) -> None:
        """Publish committed events after those that were given before."""
        if events and not self._outbox.full():
            self._outbox.put_nowait(events)

    def is_stale(self, claim: Claim) -> bool:
        """Return whether a write of this attempt was refused because the attempt has lost its turn."""
        draft = self._drafts.get(claim.key)
        return draft is not None and draft.is_stale

    def check(self, claim: Claim) -> None:
        """Raise StaleAttempt or WriteRefused if nothing more of the attempt can be stored."""
        if self.is_stale(claim):
            raise StaleAttempt("a write was refused")
        if error := self._draft(claim).error:
            raise WriteRefused from error

    async def make_room(self, claim: Claim) -> None:
        """Wait while much text of this attempt is not committed, so that it does not fill the memory."""
        draft = self._draft(claim)
        if draft.characters > MAX_PENDING_CHARACTERS:
            await self.flush(claim)

    async def flush(self, claim: Claim) -> None:
        """Wait until all text of an attempt given so far is committed or refused."""
        draft = self._draft(claim)
        if not draft.settled.is_set():
            self._hurry(draft)
            await draft.settled.wait()

    async def take(self, claim: Claim) -> tuple[NewEvent, ...]:
        """Return the last text of an attempt as events, which the transaction that ends the step writes first.

        Waits until the text before it is committed or refused. After a refusal there is no text (`check`).
        """
        draft = self._draft(claim)
        events = draft.take()
        if draft.addition is None:
            draft.settled.set()
        await self.flush(claim)
        return () if draft.is_stale or draft.error else events

    def forget(self, claim: Claim, message_id: uuid.UUID) -> None:
        """Free the memory of an attempt that has ended."""
        self._streams.difference_update((kind, message_id) for kind in PIECES)
        self._drafts.pop(claim.key, None)

    async def run(self) -> None:
        """Commit until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish())
            next_at = 0.0
            while True:
                await self._has_work.wait()
                is_due = await self._wait(next_at)
                # The loop reads its sockets once more. A verb stores the text of an answer that is whole already.
                await asyncio.sleep(0)
                self._has_work.clear()
                self._is_urgent.clear()
                start = time.monotonic()
                drafts = [draft for draft in self._drafts.values() if is_due or draft.is_urgent]
                turns, delay = await self._commit_drafts(drafts)
                end = time.monotonic()
                if is_due:
                    next_at = max(start + commit_interval(turns, end - start), end + delay)
                if delay:
                    self._is_urgent.clear()

    async def _wait(self, next_at: float) -> bool:
        """Return True when all text is to be committed, and False when only urgent text is."""
        pause = next_at - time.monotonic()
        if pause > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._is_urgent.wait()
                    return False
        return True

    async def _commit_drafts(self, drafts: Sequence[_Draft]) -> tuple[int, float]:
        """Commit the text of drafts once. Return of how many turns, and how many seconds the rest has to wait."""
        additions = [addition for draft in drafts if (addition := draft.next_addition())]
        was_uncertain = self._is_uncertain
        is_away = bool(additions) and not await self._commit(additions)
        # Only what was skipped or not tried can still be uncertain.
        is_waiting = any(draft.addition for draft in self._drafts.values())
        self._is_uncertain = is_away or (was_uncertain and is_waiting)
        if is_waiting or any(draft.texts for draft in self._drafts.values()):
            self._has_work.set()
        return len(additions), RETRY_DELAY_SECONDS if is_away else LOCKED_DELAY_SECONDS if is_waiting else 0

    async def _commit(self, additions: Sequence[Addition]) -> bool:
        """Commit a batch, or its parts when the database refuses it. Return whether the database was there."""
        try:
            appended = await in_log_thread(log.append_all)(additions, is_retry=self._is_uncertain)
        except Exception as error:
            if isinstance(error, DatabaseError) and is_temporary(error):
                logger.warning("events_not_committed", error=type(error).__name__, turns=len(additions))
                return False
            if len(additions) > 1:
                half = len(additions) // 2
                return await self._commit(additions[:half]) and await self._commit(additions[half:])
            self._end([additions[0].key], error=error)
            return True
        metrics.events_written.inc(len(appended.events))
        metrics.writes_refused.inc(len(appended.stale))
        self._end(appended.stale)
        for addition in additions:
            draft = self._drafts.get(addition.key)
            if draft and draft.addition is addition and addition.key not in appended.skipped:
                draft.settle()
        self.publish(appended.events)
        return True

    def _end(self, attempts: Iterable[Attempt], *, error: Exception | None = None) -> None:
        for attempt in attempts:
            if draft := self._drafts.get(attempt):
                draft.end(error=error)

    async def _publish(self) -> None:
        # A task of its own: a layer that hangs must not hold up the log.
        while True:
            events = await self._outbox.get()
            while not self._outbox.empty():
                events += self._outbox.get_nowait()
            await hub.publish_events(events)


def commit_interval(turns: int, seconds: float) -> float:
    """Return the seconds between the beginnings of two commits, the first of which carried text of so many turns.

    A busy machine, and one with many streams, makes fewer and larger pieces.
    """
    interval = max(min(turns, MAX_COMMITS) * seconds, turns * SECONDS_FOR_EACH_TURN)
    return min(max(interval, MIN_COMMIT_INTERVAL_SECONDS), MAX_COMMIT_INTERVAL_SECONDS)


def _piece(claim: Claim, stream: Stream, text: str) -> NewEvent:
    kind, message_id = stream
    return NewEvent(
        kind=kind,
        turn_id=claim.turn_id,
        attempt=claim.attempt,
        payload={"turn_id": str(claim.turn_id), "message_id": str(message_id), "text": text}
        | ({"again": True} if claim.is_repeat else {}),
    )
