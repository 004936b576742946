"""The live stream of a session: `publish` is for whoever commits events, `Feed` for whoever shows them.

The channel layer only makes it fast. It may lose, repeat or delay anything: whoever follows checks the numbers, reads
what is missing from the log, drops what it has had, and looks by itself from time to time. So a feed can also throw
away what arrives faster than its reader takes it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from itertools import groupby

import structlog

from sessions import queries
from sessions.layer import RETRY, listen, tell
from sessions.log import LoggedEvent, Page
from sessions.models import EventKind
from sessions.threads import in_thread

logger = structlog.get_logger(__name__)

#: Seconds between two looks at the log while a turn is open, and while none is.
ACTIVE_LOOK, IDLE_LOOK = 2.0, 30.0
#: Characters that wait for a reader at most. What has no room is read from the log when the reader comes to it.
ROOM = 128 * 1024

ENDS_TURN = frozenset({EventKind.TURN_COMPLETED, EventKind.TURN_FAILED, EventKind.TURN_CANCELLED})


def group_name(session_id: uuid.UUID) -> str:
    """Return the layer's group of a session; made of an id only, so that no client text becomes a Redis channel."""
    return f"session.{session_id.hex}"


async def publish(events: Iterable[LoggedEvent]) -> None:
    """Show committed events to whoever follows their sessions; never raises, because what gets lost is in the log."""
    ordered = sorted(events, key=lambda event: (event.session_id, event.number))
    for session_id, group in groupby(ordered, key=lambda event: event.session_id):
        # Channels picks a handler by the type; it is fixed, and nothing a client sends can be a type.
        numbered = [[event.number, event.kind, event.payload] for event in group]
        await tell(group_name(session_id), {"type": "session.events", "events": numbered})


class Feed:
    """Follows one session from a number on. Iterating yields its events, each once and in order, until it is deleted.

    With `writable` it yields nothing while that event is not set, and keeps little meanwhile, however much happens.
    """

    def __init__(self, session_id: uuid.UUID, after: int, writable: asyncio.Event | None = None) -> None:
        self.session_id = session_id
        self.after = after
        self._writable = writable
        self._open_turns: set[str] = set()
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

    def _arrive(self, events: list[LoggedEvent]) -> None:
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
        subscribed = asyncio.Event()
        subscription = asyncio.create_task(self._subscribe(subscribed))
        try:
            # Subscribe first, read second: what is committed in between then arrives twice and not never.
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await subscribed.wait()
            self._open_turns |= set(await self._open())
            events = await self._read()
            while True:
                for event in events:
                    if self._writable:
                        await self._writable.wait()
                    self._note(event)
                    yield event
                    if event.kind == EventKind.SESSION_DELETED:
                        return
                events = await (self._read() if isinstance(events, Page) and events.more else self._next())
        finally:
            subscription.cancel()
            with suppress(asyncio.CancelledError):
                await subscription

    async def _next(self) -> list[LoggedEvent]:
        """Wait for the next events, from the layer where its numbers fit and from the log where they do not."""
        try:
            async with asyncio.timeout(ACTIVE_LOOK if self._open_turns else IDLE_LOOK):
                arrived = await self._take()
        except TimeoutError:
            arrived = []
        else:
            if arrived and arrived[-1].number <= self.after:
                return []
            # All of them: one message may hold several batches, and others have written between these.
            if arrived and all(event.number == self.after + i for i, event in enumerate(arrived, 1)):
                return arrived
        return await self._read()

    async def _read(self) -> list[LoggedEvent]:
        try:
            return await in_thread(queries.news)(self.session_id, self.after)
        except Exception as error:
            # The database is away: what it holds will still be there at the next look.
            logger.warning("events_not_read", session_id=str(self.session_id), error=type(error).__name__)
            await asyncio.sleep(RETRY)
            return []

    async def _open(self) -> list[str]:
        try:
            return await in_thread(queries.open_turns)(self.session_id)
        except Exception as error:
            logger.warning("turns_not_read", session_id=str(self.session_id), error=type(error).__name__)
            return []

    def _note(self, event: LoggedEvent) -> None:
        self.after = event.number
        if event.kind == EventKind.TURN_QUEUED:
            self._open_turns.add(event.payload["turn_id"])
        elif event.kind in ENDS_TURN:
            self._open_turns.discard(event.payload["turn_id"])

    async def _subscribe(self, subscribed: asyncio.Event) -> None:
        """Pass on what the layer delivers; where it may have lost something, have the log read."""
        async for message in listen(group_name(self.session_id)):
            if message is None:
                subscribed.set()
                self.look()
            else:
                self._arrive([LoggedEvent(self.session_id, *event) for event in message["events"]])


def _size(event: LoggedEvent) -> int:
    """Return about how many characters an event takes; payloads are flat, and what nests in them is small."""
    return 200 + sum(len(value) if isinstance(value, str) else len(str(value)) for value in event.payload.values())
