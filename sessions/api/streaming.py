"""The event log over plain HTTP: a page of it as JSON, or the live stream as server-sent events.

For clients that have no WebSocket. The number of an event is its SSE id, so that a browser's `Last-Event-ID` brings
exactly what was missed.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from sessions.callers import Caller
from sessions.errors import AccessDenied
from sessions.events.feed import Feed
from sessions.events.log import LoggedEvent
from sessions.models import EventKind

#: Seconds between two comments on a silent stream, so that proxies keep it open.
KEEP_ALIVE = 15.0


async def stream(session_id: uuid.UUID, after: int, writable: asyncio.Event | None = None) -> AsyncGenerator[str]:
    """Yield the events with numbers above `after` as they come, for ever; while `writable` is not set they wait."""
    yield "retry: 1000\n\n"
    async with aclosing(aiter(Feed(session_id, after, writable))) as events:
        following = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=KEEP_ALIVE)
                if not done:
                    yield ": still here\n\n"
                    continue
                event = following.result()
                yield encoded(event)
                if event.kind == EventKind.SESSION_DELETED:
                    return
                following = asyncio.ensure_future(anext(events))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def while_signed_in(
    lines: AsyncGenerator[str], caller: Caller, last_line: Callable[[AccessDenied], str] | None = None
) -> AsyncGenerator[str]:
    """Yield the lines of a stream until its caller is nobody any more, and then `last_line`.

    Without one the stream just ends, for clients to whom every end is a lost connection, as it is to browsers. They
    come back, and are told then.
    """
    ended = asyncio.ensure_future(caller.ended())
    async with aclosing(lines):
        following = asyncio.ensure_future(anext(lines))
        try:
            while True:
                await asyncio.wait({ended, following}, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    if last_line:
                        yield last_line(ended.result())
                    return
                try:
                    line = following.result()
                except StopAsyncIteration:
                    return
                yield line
                following = asyncio.ensure_future(anext(lines))
        finally:
            ended.cancel()
            following.cancel()
            await asyncio.gather(ended, following, return_exceptions=True)


def encoded(event: LoggedEvent) -> str:
    """Return an event in the format of server-sent events; JSON has no raw line breaks, so one data line is enough."""
    data = json.dumps(numbered(event), ensure_ascii=False)
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


def numbered(event: LoggedEvent) -> dict[str, Any]:
    """Return an event as HTTP clients get it: as the event frames of the socket have it."""
    fields: dict[str, Any] = {"number": event.number, "kind": event.kind, "payload": event.payload}
    return fields if event.first is None else {"first": event.first, **fields}


class Waited[T]:
    """An iterator that can be waited for a while and then waited for again, without losing what comes."""

    def __init__(self, items: AsyncGenerator[T]) -> None:
        self._items = items
        self._next: asyncio.Future[T] | None = None

    async def within(self, seconds: float) -> T | None:
        """Return the next item; None when none comes in time. Raises what the iterator raises."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._items))
        done, _ = await asyncio.wait({self._next}, timeout=seconds)
        if not done:
            return None
        came, self._next = self._next, None
        return came.result()

    def put_back(self, item: T) -> None:
        """Let `within` return this item next."""
        self._next = asyncio.get_running_loop().create_future()
        self._next.set_result(item)

    async def close(self) -> None:
        """End the iterator."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._items.aclose()
