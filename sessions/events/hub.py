"""Delivers the channel layer's messages to the feeds of this process; one hub for each event loop.

All sessions share one group of the layer: a worker publishes each commit as one message, however many sessions it is
about, and a socket needs no subscription to the layer. What this process has committed itself does not wait for the
layer. Because the layer may lose messages, the hub also polls the log, with one query for all feeds. It must never
decide what a feed yields.
"""

import asyncio
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog

from sessions.database import in_feed_thread
from sessions.events import reads
from sessions.events.log import LoggedEvent
from sessions.events.newcomers import Newcomers
from sessions.events.pubsub import SESSIONS, SessionEvents, listen, publish
from sessions.models import new_id

logger = structlog.get_logger(__name__)

#: Seconds without events after which the hub polls the log for a session with an open turn, and for one without.
ACTIVE_POLL_SECONDS, IDLE_POLL_SECONDS = 2.0, 30.0
POLL_INTERVAL_SECONDS = 1.0
#: Seconds between two polls, when messages may have been lost again and again.
MIN_POLL_INTERVAL_SECONDS = 0.25
#: Newest number of a session that was deleted: each feed is behind it, reads the log and finds the session gone.
DELETED = (math.inf, False)


class Subscriber(Protocol):
    """A feed, as the hub sees it."""

    session_id: uuid.UUID
    after: int

    def receive(self, events: list[LoggedEvent]) -> None:
        """Take committed events of the session, in order."""

    def refresh(self) -> None:
        """Read the log, because events may be missing."""


class Subscription:
    """When a feed is to be polled for."""

    __slots__ = ("has_open_turn", "updated_at")

    def __init__(self) -> None:
        self.update()

    def update(self, *, has_open_turn: bool = True) -> None:
        """Record that the feed is up to date, and whether its session has an open turn, as far as is known."""
        self.has_open_turn, self.updated_at = has_open_turn, time.monotonic()

    def expire(self) -> None:
        """Make the feed due: messages may have been lost."""
        self.updated_at = -math.inf

    def is_due(self) -> bool:
        """Return whether the hub must poll the log for the feed."""
        interval = ACTIVE_POLL_SECONDS if self.has_open_turn else IDLE_POLL_SECONDS
        return time.monotonic() - self.updated_at >= interval


class Hub:
    """The feeds of one event loop."""

    def __init__(self) -> None:
        #: Names the hub in its messages, which it does not need to hear.
        self._name = new_id().hex
        self._feeds: dict[uuid.UUID, dict[Subscriber, Subscription]] = defaultdict(dict)
        self._newcomers = Newcomers()
        self._is_subscribed = asyncio.Event()
        self._may_have_lost = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, feed: Subscriber, *, max_wait_seconds: float) -> Subscription:
        """Deliver events to a feed from now on; wait for the layer at most so long."""
        subscription = self._feeds[feed.session_id][feed] = Subscription()
        self._start()
        try:
            async with asyncio.timeout(max_wait_seconds):
                await self._is_subscribed.wait()
        except TimeoutError:
            logger.warning("layer_not_reached", group=SESSIONS)
        return subscription

    def leave(self, feed: Subscriber) -> None:
        """Deliver nothing more to a feed; the last one ends the hub's tasks."""
        feeds = self._feeds.get(feed.session_id, {})
        feeds.pop(feed, None)
        if not feeds:
            self._feeds.pop(feed.session_id, None)
        self._stop_if_idle()

    async def until_begun(self, owner_id: int, key: str) -> None:
        """Return when the owner may have a session of this name."""
        self._start()
        try:
            await self._newcomers.wait(owner_id, key)
        finally:
            self._stop_if_idle()

    async def publish(self, events: Iterable[LoggedEvent]) -> None:
        """Bring committed events to the feeds of all processes, and at once to those here. Never raises."""
        ordered = sorted(events, key=lambda event: (event.session_id, event.number))
        batches = [(session_id, list(group)) for session_id, group in groupby(ordered, key=lambda it: it.session_id)]
        for session_id, batch in batches:
            self._deliver(session_id, batch)
        if batches:
            # By hand, not by the model: each commit of tokens is one message.
            wire = [
                (session_id.hex, [(event.number, event.kind, event.payload) for event in batch])
                for session_id, batch in batches
            ]
            await publish(SESSIONS, {"type": "session.events", "events": wire, "hub": self._name})

    def _start(self) -> None:
        if not self._tasks or any(task.done() for task in self._tasks):
            self._stop()
            receive = listen(SESSIONS, SessionEvents, self._receive)
            self._tasks = [asyncio.create_task(receive), asyncio.create_task(self._poll())]

    def _stop_if_idle(self) -> None:
        if not self._feeds and not self._newcomers:
            self._stop()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._is_subscribed = asyncio.Event()

    def _receive(self, message: SessionEvents | None) -> None:
        if message is None:
            self._is_subscribed.set()
            # One query for all feeds finds those that are behind.
            for feeds in self._feeds.values():
                for subscription in feeds.values():
                    subscription.expire()
            self._newcomers.expire()
            self._may_have_lost.set()
        elif message.hub != self._name:
            for session_id, batch in message.events:
                self._deliver(session_id, [LoggedEvent(session_id, *event) for event in batch])

    def _deliver(self, session_id: uuid.UUID, events: list[LoggedEvent]) -> None:
        if events and events[0].number == 1:
            self._newcomers.notice(session_id)
        if feeds := self._feeds.get(session_id):
            for feed, subscription in feeds.items():
                subscription.update()
                feed.receive(events)

    async def _poll(self) -> None:
        """Compare feeds with the log that have received nothing for a while or may have lost messages."""
        while True:
            await asyncio.sleep(MIN_POLL_INTERVAL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL_SECONDS - MIN_POLL_INTERVAL_SECONDS):
                    await self._may_have_lost.wait()
            self._may_have_lost.clear()
            due = {
                session_id
                for session_id, feeds in self._feeds.items()
                if any(subscription.is_due() for subscription in feeds.values())
            }
            if not due:
                continue
            try:
                latest = await in_feed_thread(reads.latest_numbers)(due)
            except Exception as error:
                logger.warning("sessions_not_looked_at", sessions=len(due), error=type(error).__name__)
                continue
            for session_id in due:
                self._compare(session_id, *latest.get(session_id, DELETED))

    def _compare(self, session_id: uuid.UUID, last: float, has_open_turn: bool) -> None:
        for feed, subscription in self._feeds.get(session_id, {}).items():
            subscription.update(has_open_turn=has_open_turn)
            if feed.after < last:
                feed.refresh()


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or _hubs.setdefault(loop, Hub())


async def publish_events(events: Iterable[LoggedEvent]) -> None:
    """Publish committed events to the subscribers of their sessions. Never raises: the log has what gets lost."""
    await current_hub().publish(events)
