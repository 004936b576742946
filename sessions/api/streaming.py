"""Streams to HTTP clients: heartbeats during silence, and an end as soon as the caller is signed out.

A wait may time out while its source keeps running; the next wait resumes it. So no item is lost, and a source is only
cancelled when the stream is closed.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from sessions.api.draining import drain
from sessions.callers import Caller
from sessions.errors import AccessDenied
from sessions.protocol.codes import ErrorCode

#: Of one user at one process: many windows, and no reason for the process to run out of memory.
MAX_STREAMS_OF_USER, MAX_SOCKETS_OF_USER = 500, 5_000
FREE_RETRY_SECONDS = 10


class OpenConnections:
    """The open connections of one kind at this process, counted by user."""

    def __init__(self, kind: str, most: int) -> None:
        self._kind, self._most = kind, most
        self._counts: Counter[int] = Counter()

    def require_free(self, user_id: int) -> None:
        """Raise AccessDenied when the user has as many open as one may have."""
        if self._counts[user_id] >= self._most:
            text = f"You have {self._most:,} {self._kind} open. Close some, and try again."
            raise AccessDenied(ErrorCode.RATE_LIMITED, text, retry_after=FREE_RETRY_SECONDS)

    def add(self, user_id: int) -> None:
        """Count one more."""
        self._counts[user_id] += 1

    def remove(self, user_id: int) -> None:
        """Count one less."""
        self._counts[user_id] -= 1
        if not self._counts[user_id]:
            del self._counts[user_id]


open_streams = OpenConnections("event streams", MAX_STREAMS_OF_USER)
open_sockets = OpenConnections("sockets", MAX_SOCKETS_OF_USER)


def with_heartbeat[T](
    source: AsyncGenerator[T], seconds: float, caller: Caller | None = None
) -> AsyncGenerator[T | None]:
    """Yield the items of a source, and None after each `seconds` without one.

    Raises AccessDenied as soon as the caller is signed out, where one is given.
    """
    return _items(source, seconds=seconds) if caller is None else _with_heartbeat(source, seconds, caller)


async def _with_heartbeat[T](source: AsyncGenerator[T], seconds: float, caller: Caller) -> AsyncGenerator[T | None]:
    # One wait for both: each wait makes a task and a timer for each item.
    async with _signing_out(caller) as signed_out, aclosing(_items(source, seconds=seconds, until=signed_out)) as items:
        async for item in items:
            yield item
        if signed_out.done():
            raise signed_out.result()


async def until_signed_out[T](source: AsyncGenerator[T], caller: Caller) -> AsyncGenerator[T]:
    """Yield the items of a source until its caller is signed out.

    To browsers every end is a lost connection: they reconnect, and get the reason then.
    """
    async with _signing_out(caller) as signed_out, aclosing(_items(source, until=signed_out)) as items:
        async for item in items:
            if item is not None:
                yield item


async def until_draining[T](source: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """Yield the items of a source without an end until this process ends. Its client goes on at another one."""
    closing = asyncio.ensure_future(drain.until_closing())
    try:
        async with aclosing(_items(source, until=closing)) as items:
            async for item in items:
                if item is not None:
                    yield item
    finally:
        await _cancel(closing)


async def counted[T](source: AsyncGenerator[T], user_id: int) -> AsyncGenerator[T]:
    """Yield the items of a source, which counts as one stream of the user meanwhile."""
    open_streams.add(user_id)
    try:
        async with aclosing(source) as items:
            async for item in items:
                yield item
    finally:
        open_streams.remove(user_id)


async def unless_signed_out[T](answer: Coroutine[Any, Any, T], caller: Caller) -> T:
    """Return an answer. Raises what it raises, and AccessDenied as soon as its caller is signed out."""
    async with _signing_out(caller) as signed_out:
        task = asyncio.ensure_future(answer)
        try:
            await asyncio.wait((task, signed_out), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise signed_out.result()
            return task.result()
        finally:
            await _cancel(task)


async def _items[T](
    source: AsyncGenerator[T], *, seconds: float | None = None, until: asyncio.Future[Any] | None = None
) -> AsyncGenerator[T | None]:
    """Yield the items of a source, and None after each `seconds` without one; end when `until` is done."""
    next_item: asyncio.Future[T] | None = None
    try:
        while True:
            next_item = next_item or asyncio.ensure_future(anext(source))
            futures = [next_item] if until is None else [next_item, until]
            await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if until is not None and until.done():
                return
            if not next_item.done():
                yield None
                continue
            try:
                item = next_item.result()
            except StopAsyncIteration:
                return
            next_item = None
            yield item
    finally:
        if next_item is not None:
            await _cancel(next_item)
        await source.aclose()


@asynccontextmanager
async def _signing_out(caller: Caller) -> AsyncIterator[asyncio.Future[AccessDenied]]:
    signed_out = asyncio.ensure_future(caller.signed_out())
    try:
        yield signed_out
    finally:
        await _cancel(signed_out)


async def _cancel(future: asyncio.Future[Any]) -> None:
    """Cancel a future and wait for its end, whatever its result."""
    future.cancel()
    await asyncio.gather(future, return_exceptions=True)
