"""What reaches this process from the channel layer, handed to the feeds that wait for it; one hub for each event loop.

All sessions share one group of the layer, so that what a worker commits at once is one message, however many sessions
it is about, and a socket costs no subscription of its own. The hub also looks into the log from time to time,
in one query for all feeds: the layer may lose anything. It must never decide what a feed yields.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog

from sessions.database import in_thread
from sessions.events import reads
from sessions.events.log import LoggedEvent
from sessions.events.pubsub import SESSIONS, publish, subscribe

logger = structlog.get_logger(__name__)

#: Seconds of silence after which the log is looked at, while a turn is open and while none is.
ACTIVE_POLL_SECONDS, IDLE_POLL_SECONDS = 2.0, 30.0
#: Seconds between two rounds of looks.
POLL_INTERVAL_SECONDS = 1.0


#: What there is of a session that is gone: enough to make its feeds look, and find that out.
DELETED = (math.inf, False)


class Subscriber(Protocol):
    """A feed, as the hub knows it."""

    session_id: uuid.UUID
    after: int

    def arrive(self, events: list[LoggedEvent]) -> None:
        """Take events of the session that were committed, in order."""

    def look(self) -> None:
        """Read the log: something may have been missed."""


class Subscription:
    """A feed's place in the hub."""

    __slots__ = ("active", "heard_at")

    def __init__(self) -> None:
        #: A turn of its session is open, as far as we know.
        self.active = True
        self.heard_at = time.monotonic()

    def heard(self, *, active: bool = True) -> None:
        """Note that there was something to tell the feed, or that there is nothing."""
        self.active, self.heard_at = active, time.monotonic()


class Hub:
    """The feeds of one event loop."""

    def __init__(self) -> None:
        self._feeds: dict[uuid.UUID, dict[Subscriber, Subscription]] = defaultdict(dict)
        self._listening = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, feed: Subscriber, *, patience: float) -> Subscription:
        """Have a feed told of its session from now on; waits for the layer so many seconds at most."""
        place = self._feeds[feed.session_id][feed] = Subscription()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look_around())]
        if not self._listening.is_set():
            try:
                async with asyncio.timeout(patience):
                    await self._listening.wait()
            except TimeoutError:
                logger.warning("layer_not_reached", group=SESSIONS)
        return place

    def leave(self, feed: Subscriber) -> None:
        """Tell a feed nothing more."""
        feeds = self._feeds.get(feed.session_id, {})
        feeds.pop(feed, None)
        if not feeds:
            self._feeds.pop(feed.session_id, None)
        if not self._feeds:
            self._rest()

    def _rest(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._listening = asyncio.Event()

    async def _listen(self) -> None:
        async for message in subscribe(SESSIONS):
            if message is None:
                self._listening.set()
                for feeds in list(self._feeds.values()):
                    for feed in feeds:
                        feed.look()
            else:
                self._route(message["events"])

    def _route(self, told: list[tuple[str, list[tuple[int, str, dict[str, object]]]]]) -> None:
        for name, numbered in told:
            session_id = uuid.UUID(name)
            feeds = self._feeds.get(session_id)
            if feeds:
                events = [LoggedEvent(session_id, *event) for event in numbered]
                for feed, place in feeds.items():
                    place.heard()
                    feed.arrive(events)

    async def _look_around(self) -> None:
        """Find feeds that the layer has told nothing for a while, and those of them that have missed something."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
            now = time.monotonic()
            due = {
                session_id
                for session_id, feeds in self._feeds.items()
                for place in feeds.values()
                if now - place.heard_at >= (ACTIVE_POLL_SECONDS if place.active else IDLE_POLL_SECONDS)
            }
            if not due:
                continue
            try:
                found = await in_thread(reads.latest_numbers)(due)
            except Exception as error:
                # The database is away: what it holds will still be there at the next look.
                logger.warning("sessions_not_looked_at", sessions=len(due), error=type(error).__name__)
                continue
            for session_id in due:
                self._compare(session_id, *found.get(session_id, DELETED))

    def _compare(self, session_id: uuid.UUID, last: float, active: bool) -> None:
        for feed, place in self._feeds.get(session_id, {}).items():
            place.heard(active=active)
            if feed.after < last:
                feed.look()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """Return the hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


async def publish_events(events: Iterable[LoggedEvent]) -> None:
    """Show committed events to whoever follows their sessions; never raises, because what gets lost is in the log."""
    ordered = sorted(events, key=lambda event: (event.session_id, event.number))
    told = [
        (session_id.hex, [(event.number, event.kind, event.payload) for event in group])
        for session_id, group in groupby(ordered, key=lambda event: event.session_id)
    ]
    if told:
        # Channels picks a handler by the type; it is fixed, and nothing a client sends can be a type.
        await publish(SESSIONS, {"type": "session.events", "events": told})
