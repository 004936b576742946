"""The live stream of one session's events.

It must never skip, repeat or reorder an event. The channel layer only makes it fast, and may lose, repeat or delay
anything: a feed checks the numbers, reads missing events from the log, and drops repeated ones. It can therefore also
drop events that arrive faster than its reader takes them.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator

import structlog

from sessions.database import in_feed_thread
from sessions.events import hub, reads
from sessions.events.log import LoggedEvent, Page
from sessions.models import EventKind

logger = structlog.get_logger(__name__)

#: Seconds before another try to read the log: the first, and at most.
MIN_RETRY_DELAY_SECONDS, MAX_RETRY_DELAY_SECONDS = 0.05, 1.0
#: Seconds for which a feed waits for the layer before it reads the log. What is written later is found by the hub.
JOIN_TIMEOUT_SECONDS = 0.1
#: Characters that wait for a slow reader in memory. It reads the rest from the log.
MAX_BUFFER_CHARACTERS = 128 * 1024

ENDS_TURN = frozenset({EventKind.TURN_COMPLETED, EventKind.TURN_FAILED, EventKind.TURN_CANCELLED})


class Feed:
    """Follows one session from a number on. Iterating yields its events, each once and in order, until it is deleted.

    While `writable` is given and not set, the feed yields nothing and its buffer stays bounded.
    """

    def __init__(self, session_id: uuid.UUID, after: int, writable: asyncio.Event | None = None) -> None:
        self.session_id = session_id
        self.after = after
        self._writable = writable
        self._batches: deque[list[LoggedEvent]] = deque()
        self._free_characters = MAX_BUFFER_CHARACTERS
        self._must_read = False
        self._wakeup = asyncio.Event()
        self._retry_delay = MIN_RETRY_DELAY_SECONDS

    def refresh(self) -> None:
        """Make the feed read the log, because it may have missed events."""
        # The log has the buffered events, too.
        self._batches.clear()
        self._must_read = True
        self._wakeup.set()

    def receive(self, events: list[LoggedEvent]) -> None:
        """Buffer committed events, in order; when the buffer is full, make the feed read the log instead."""
        if self._must_read:
            return
        self._free_characters -= sum(_size(event) for event in events)
        if self._free_characters < 0:
            self.refresh()
        else:
            self._batches.append(events)
            self._wakeup.set()

    async def _next_batch(self) -> list[LoggedEvent]:
        """Wait for a batch; an empty one means that the feed must read the log."""
        await self._wakeup.wait()
        events = self._batches.popleft() if self._batches else []
        if not self._batches:
            self._wakeup.clear()
            self._free_characters, self._must_read = MAX_BUFFER_CHARACTERS, False
        return events

    async def __aiter__(self) -> AsyncGenerator[LoggedEvent]:
        local_hub = hub.current_hub()
        try:
            # Join first, read second: an event committed in between then arrives twice and not never.
            self._subscription = await local_hub.join(self, max_wait_seconds=JOIN_TIMEOUT_SECONDS)
            events = await self._read()
            while True:
                for event in events:
                    if self._writable:
                        await self._writable.wait()
                    self.after = event.number
                    yield event
                    if event.kind == EventKind.SESSION_DELETED:
                        return
                events = await (self._read() if isinstance(events, Page) and events.more else self._next())
        finally:
            local_hub.leave(self)

    async def _next(self) -> list[LoggedEvent]:
        """Wait for the next events: a batch from the layer when its numbers follow on, or else a page of the log."""
        batch = await self._next_batch()
        if batch and batch[-1].number <= self.after:
            return []
        # Check all of them: a message may hold several commits of a worker, and other processes write in between.
        if batch and all(event.number == self.after + i for i, event in enumerate(batch, 1)):
            return batch
        return await self._read()

    async def _read(self) -> list[LoggedEvent]:
        try:
            page = await in_feed_thread(reads.read_new)(self.session_id, self.after)
        except Exception as error:
            logger.warning("events_not_read", session_id=str(self.session_id), error=type(error).__name__)
            await asyncio.sleep(self._retry_delay)
            self._retry_delay = min(2 * self._retry_delay, MAX_RETRY_DELAY_SECONDS)
            self.refresh()
            return []
        self._retry_delay = MIN_RETRY_DELAY_SECONDS
        if page:
            self._subscription.update()
        return page


def _size(event: LoggedEvent) -> int:
    """Return about how many characters an event takes. Payloads are flat; the values nested in them are small."""
    return 200 + sum(len(value) if isinstance(value, str) else len(str(value)) for value in event.payload.values())
