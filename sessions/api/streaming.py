"""Streams to HTTP clients: signs of life while nothing happens, and an end as soon as the caller is signed out.

A source is never interrupted while it works on its next item: the wait for it is given up and taken up again. So no
item is lost, and what a source has begun it ends, or is cancelled once and for all when the stream is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

from sessions.callers import Caller
from sessions.errors import AccessDenied


def with_heartbeat[T](source: AsyncGenerator[T], seconds: float) -> AsyncGenerator[T | None]:
    """Yield the items of a source, and None each time that none has come for so many seconds."""
    return _items(source, seconds=seconds)


async def until_signed_out[T](
    source: AsyncGenerator[T], caller: Caller, last: Callable[[AccessDenied], T] | None = None
) -> AsyncGenerator[T]:
    """Yield the items of a source until its caller is signed out, and then what `last` makes of the reason.

    Without `last` the stream just ends, for clients to whom every end is a lost connection, as it is to browsers. They
    come back, and learn the reason then.
    """
    async with _signing_out(caller) as signed_out, aclosing(_items(source, until=signed_out)) as items:
        async for item in items:
            if item is not None:
                yield item
        if signed_out.done() and last is not None:
            yield last(signed_out.result())


async def unless_signed_out[T](answer: Coroutine[Any, Any, T], caller: Caller) -> T:
    """Return a whole answer. Raises what it raises, and AccessDenied as soon as its caller is signed out."""
    async with _signing_out(caller) as signed_out:
        coming = asyncio.ensure_future(answer)
        try:
            await _wait_for_any(coming, signed_out)
            if not coming.done():
                raise signed_out.result()
            return coming.result()
        finally:
            await _cancel(coming)


async def _items[T](
    source: AsyncGenerator[T], *, seconds: float | None = None, until: asyncio.Future[Any] | None = None
) -> AsyncGenerator[T | None]:
    """Yield the items of a source, and None after so many seconds without one; end when `until` is done."""
    coming: asyncio.Future[T] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(source))
            await _wait_for_any(coming, until, seconds=seconds)
            if until is not None and until.done():
                return
            if not coming.done():
                yield None
                continue
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield item
    finally:
        if coming is not None:
            await _cancel(coming)
        await source.aclose()


@asynccontextmanager
async def _signing_out(caller: Caller) -> AsyncIterator[asyncio.Future[AccessDenied]]:
    signed_out = asyncio.ensure_future(caller.signed_out())
    try:
        yield signed_out
    finally:
        await _cancel(signed_out)


async def _wait_for_any(*futures: asyncio.Future[Any] | None, seconds: float | None = None) -> None:
    some = [future for future in futures if future is not None]
    await asyncio.wait(some, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


async def _cancel(future: asyncio.Future[Any]) -> None:
    """Cancel a future and wait for its end; how it ended is of no interest any more."""
    future.cancel()
    await asyncio.gather(future, return_exceptions=True)
