"""Sockets of sessions that do not exist yet wait here, and are told when another client has begun one.

A session has no row before its first message. A published event with the number 1 says that one has begun, and one
query finds whose it is. Messages may be lost, so all that is awaited is also looked up now and then.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from contextlib import suppress

import structlog

from sessions.database import in_feed_thread
from sessions.events import reads

logger = structlog.get_logger(__name__)

#: Seconds between two looks at all that is awaited, and at least between two queries.
POLL_SECONDS, MIN_QUERY_INTERVAL_SECONDS = 30.0, 0.1

#: The owner and the name of a session.
type Name = tuple[int, str]


class Newcomers:
    """The sessions that sockets of one event loop wait for."""

    def __init__(self) -> None:
        self._waiting: dict[Name, set[asyncio.Event]] = defaultdict(set)
        self._begun: set[uuid.UUID] = set()
        #: Awaited since the last look.
        self._new: set[Name] = set()
        self._must_poll = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, owner_id: int, key: str) -> None:
        """Return when the owner may have a session of this name."""
        name, event = (owner_id, key), asyncio.Event()
        self._waiting[name].add(event)
        # It may have begun since the caller looked.
        self._new.add(name)
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_for_ever())
        try:
            await event.wait()
        finally:
            self._waiting[name].discard(event)
            if not self._waiting[name]:
                del self._waiting[name]
            if not self._waiting:
                self._task.cancel()
                self._task = None

    def notice(self, session_id: uuid.UUID) -> None:
        """Look whose session this is, whose first event was published."""
        if self._waiting:
            self._begun.add(session_id)
            self._wake.set()

    def expire(self) -> None:
        """Look for everything that is awaited: messages may have been lost."""
        self._must_poll = True
        self._wake.set()

    async def _look_for_ever(self) -> None:
        polled_at = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, polled_at + POLL_SECONDS - time.monotonic())):
                    await self._wake.wait()
            self._wake.clear()
            begun, self._begun = self._begun, set()
            new, self._new = self._new, set()
            is_poll = self._must_poll or time.monotonic() >= polled_at + POLL_SECONDS
            self._must_poll = False
            try:
                names: list[Name] = []
                if awaited := self._waiting if is_poll else new:
                    names += await in_feed_thread(reads.existing_names)(list(awaited))
                if is_poll:
                    polled_at = time.monotonic()
                elif begun:
                    names += await in_feed_thread(reads.names_of)(begun)
            except Exception as error:
                logger.warning("newcomers_not_looked_for", error=type(error).__name__)
                self.expire()
                await asyncio.sleep(1.0)
                continue
            for name in names:
                for event in self._waiting.get(name, ()):
                    event.set()
            await asyncio.sleep(MIN_QUERY_INTERVAL_SECONDS)
