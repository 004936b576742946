"""The live stream of a session: `publish` is for whoever commits events, `Feed` for whoever shows them.

The channel layer only makes it fast. It may lose, repeat or delay anything: whoever follows checks the numbers, reads
what is missing from the log, drops what it has had, and looks by itself from time to time.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from itertools import groupby

import structlog

from sessions import log, queries
from sessions.layer import RETRY, listen, tell
from sessions.log import LoggedEvent
from sessions.models import EventKind
from sessions.threads import in_thread

logger = structlog.get_logger(__name__)

#: Seconds between two looks at the log while a turn is open, and while none is.
ACTIVE_LOOK, IDLE_LOOK = 2.0, 30.0

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
    """Follows one session from a number on. Iterating yields its events, each once and in order, for ever."""

    def __init__(self, session_id: uuid.UUID, after: int) -> None:
        self.session_id = session_id
        self.after = after
        self._open_turns: set[str] = set()
        self._arrived: asyncio.Queue[list[LoggedEvent]] = asyncio.Queue()

    def look(self) -> None:
        """Make the feed read the log now, because something was written to the session."""
        self._arrived.put_nowait([])

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
                    self._note(event)
                    yield event
                # A whole page means that there may be more of them.
                events = await (self._read() if len(events) >= log.PAGE else self._next())
        finally:
            subscription.cancel()
            with suppress(asyncio.CancelledError):
                await subscription

    async def _next(self) -> list[LoggedEvent]:
        """Wait for the next events, from the layer where its numbers fit and from the log where they do not."""
        try:
            async with asyncio.timeout(ACTIVE_LOOK if self._open_turns else IDLE_LOOK):
                arrived = await self._arrived.get()
        except TimeoutError:
            arrived = []
        else:
            if arrived and arrived[-1].number <= self.after:
                return []
            if arrived and arrived[0].number == self.after + 1:
                return arrived
        return await self._read()

    async def _read(self) -> list[LoggedEvent]:
        try:
            return await in_thread(log.since)(self.session_id, self.after)
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
                self._arrived.put_nowait([LoggedEvent(self.session_id, *event) for event in message["events"]])
