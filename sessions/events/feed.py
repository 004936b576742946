"""The live stream of a session, for whoever shows it: each event once and in order.

The channel layer only makes it fast. It may lose, repeat or delay anything: a feed checks the numbers, reads what is
missing from the log, and drops what it has had. So it can also throw away what arrives faster than its reader takes it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator

import structlog

from sessions.database import in_thread
from sessions.events import hub, reads
from sessions.events.log import LoggedEvent, Page
from sessions.models import EventKind

logger = structlog.get_logger(__name__)

#: Seconds before another try to reach the layer or the log.
RETRY = 1.0
#: Characters that wait for a reader at most. What has no room is read from the log when the reader comes to it.
ROOM = 128 * 1024

ENDS_TURN = frozenset({EventKind.TURN_COMPLETED, EventKind.TURN_FAILED, EventKind.TURN_CANCELLED})


class Feed:
    """Follows one session from a number on. Iterating yields its events, each once and in order, until it is deleted.

    With `writable` it yields nothing while that event is not set, and keeps little meanwhile, however much happens.
    """

    def __init__(self, session_id: uuid.UUID, after: int, writable: asyncio.Event | None = None) -> None:
        self.session_id = session_id
        self.after = after
        self._writable = writable
        self._arrived: deque[list[LoggedEvent]] = deque()
        self._room = ROOM
        self._to_read = False
        self._news = asyncio.Event()

    def look(self) -> None:
        """Make the feed read the log now, because something was written to the session."""
        # The log has everything that has arrived, too.
        self._arrived.clear()
        self._to_read = True
        self._news.set()

    def arrive(self, events: list[LoggedEvent]) -> None:
        """Take events that were committed, in order; more than there is room for is left to the log."""
        if self._to_read:
            return
        self._room -= sum(_size(event) for event in events)
        if self._room < 0:
            self.look()
        else:
            self._arrived.append(events)
            self._news.set()

    async def _take(self) -> list[LoggedEvent]:
        """Wait for what arrives; nothing means that the log has to be read."""
        await self._news.wait()
        events = self._arrived.popleft() if self._arrived else []
        if not self._arrived:
            self._news.clear()
            self._room, self._to_read = ROOM, False
        return events

    async def __aiter__(self) -> AsyncGenerator[LoggedEvent]:
        here = hub.current_hub()
        try:
            # Join first, read second: what is committed in between then arrives twice and not never.
            self._place = await here.join(self, patience=RETRY)
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
            here.leave(self)

    async def _next(self) -> list[LoggedEvent]:
        """Wait for the next events, from the layer where its numbers fit and from the log where they do not."""
        arrived = await self._take()
        if arrived and arrived[-1].number <= self.after:
            return []
        # All of them: one message may hold several batches, and others have written between these.
        if arrived and all(event.number == self.after + i for i, event in enumerate(arrived, 1)):
            return arrived
        return await self._read()

    async def _read(self) -> list[LoggedEvent]:
        try:
            page = await in_thread(reads.read_new)(self.session_id, self.after)
        except Exception as error:
            # The database is away: what it holds will still be there in a while.
            logger.warning("events_not_read", session_id=str(self.session_id), error=type(error).__name__)
            await asyncio.sleep(RETRY)
            self.look()
            return []
        if page:
            self._place.heard()
        return page


def _size(event: LoggedEvent) -> int:
    """Return about how many characters an event takes; payloads are flat, and what nests in them is small."""
    return 200 + sum(len(value) if isinstance(value, str) else len(str(value)) for value in event.payload.values())
