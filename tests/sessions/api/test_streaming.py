"""Streams to HTTP clients: no item is lost between heartbeats, a sign-out ends them, and nothing stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from sessions.api import streaming
from sessions.api.streaming import OpenConnections, counted, unless_signed_out, until_signed_out, with_heartbeat
from sessions.errors import AccessDenied
from sessions.protocol.codes import ErrorCode

BEAT = 0.01


class Source:
    """Yields what is put into it, and raises errors that are put there; remembers whether it was closed."""

    def __init__(self, *items: Any) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.is_closed = False
        for item in items:
            self.queue.put_nowait(item)

    async def __call__(self) -> AsyncGenerator[Any]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                # Not in one go, so that a heartbeat may come between.
                await asyncio.sleep(0)
                yield item
        finally:
            self.is_closed = True


class Caller:
    """A caller who is signed out when a test says so."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.is_watched = False

    async def signed_out(self) -> AccessDenied:
        self.is_watched = True
        try:
            await self.end.wait()
        finally:
            self.is_watched = False
        return AccessDenied(ErrorCode.TOKEN_EXPIRED, "Sign in again.")


def followed(source: Source, caller: Any) -> AsyncGenerator[Any]:
    return until_signed_out(source(), caller)


@pytest.fixture(autouse=True)
async def _nothing_stays_behind() -> AsyncIterator[None]:
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_heartbeat_comes_whenever_the_source_is_silent() -> None:
    source = Source("one")
    async with aclosing(with_heartbeat(source(), BEAT)) as stream:
        assert [await anext(stream) for _ in range(4)] == ["one", None, None, None]
        source.queue.put_nowait("two")
        assert await anext(stream) == "two"
        assert await anext(stream) is None
    assert source.is_closed


async def test_no_item_is_lost_or_doubled_between_heartbeats() -> None:
    source = Source()

    async def produce() -> None:
        for number in range(1, 60):
            # Some come before the heartbeat, some after it, many close to it.
            await asyncio.sleep(BEAT * (number % 4) / 2)
            source.queue.put_nowait(number)
        source.queue.put_nowait(None)

    producing = asyncio.create_task(produce())
    items = [item async for item in with_heartbeat(source(), BEAT)]
    await producing
    assert [item for item in items if item is not None] == list(range(1, 60))
    assert None in items


async def test_a_stream_ends_with_its_source() -> None:
    source = Source("one", "two", None)
    assert [item async for item in with_heartbeat(source(), 5)] == ["one", "two"]
    caller, source = Caller(), Source("one", "two", None)
    assert [item async for item in followed(source, caller)] == ["one", "two"]
    assert source.is_closed
    assert not caller.is_watched


async def test_an_error_of_the_source_comes_through() -> None:
    source = Source("one", ZeroDivisionError())
    async with aclosing(with_heartbeat(source(), 5)) as stream:
        assert await anext(stream) == "one"
        with pytest.raises(ZeroDivisionError):
            await anext(stream)
    caller, source = Caller(), Source("one", ZeroDivisionError())
    async with aclosing(followed(source, caller)) as stream:
        assert await anext(stream) == "one"
        with pytest.raises(ZeroDivisionError):
            await anext(stream)
    assert source.is_closed
    assert not caller.is_watched


async def test_a_client_that_disconnects_closes_the_source() -> None:
    source, caller = Source("one"), Caller()
    stream = followed(source, caller)
    assert await anext(stream) == "one"
    assert caller.is_watched
    await stream.aclose()
    assert source.is_closed
    assert not caller.is_watched


async def test_cancellation_closes_the_source() -> None:
    source, caller = Source("one"), Caller()

    async def read() -> None:
        async with aclosing(until_signed_out(with_heartbeat(source(), BEAT), caller)) as stream:  # type: ignore[arg-type]
            async for _ in stream:
                pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(BEAT * 3)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.is_closed
    assert not caller.is_watched


async def test_a_sign_out_ends_a_silent_stream_at_once() -> None:
    source, caller = Source("one"), Caller()
    stream = followed(source, caller)
    assert await anext(stream) == "one"
    asyncio.get_running_loop().call_later(BEAT, caller.end.set)
    async with asyncio.timeout(60):
        assert [item async for item in stream] == []
    assert source.is_closed


async def test_a_sign_out_ends_heartbeats_with_its_reason() -> None:
    source, caller = Source("one"), Caller()
    stream = with_heartbeat(source(), BEAT, caller)  # type: ignore[arg-type]
    assert [await anext(stream) for _ in range(2)] == ["one", None]
    caller.end.set()
    with pytest.raises(AccessDenied, match=r"Sign in again\."):
        [item async for item in stream]
    assert source.is_closed
    assert not caller.is_watched


async def test_after_a_sign_out_no_item_of_the_source_is_sent() -> None:
    source, caller = Source("one"), Caller()
    stream = followed(source, caller)
    assert await anext(stream) == "one"
    caller.end.set()
    await asyncio.sleep(0)
    source.queue.put_nowait("secret")
    assert [item async for item in stream] == []
    assert source.is_closed


async def test_an_answer_is_returned_or_raises_its_own_error() -> None:
    caller: Any = Caller()
    assert await unless_signed_out(asyncio.sleep(0, "answer"), caller) == "answer"

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless_signed_out(fail(), caller)
    assert not caller.is_watched


async def test_a_sign_out_ends_the_wait_for_an_answer() -> None:
    caller: Any = Caller()
    stopped = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    asyncio.get_running_loop().call_later(BEAT, caller.end.set)
    async with asyncio.timeout(60):
        with pytest.raises(AccessDenied) as caught:
            await unless_signed_out(wait(), caller)
    assert caught.value.code == ErrorCode.TOKEN_EXPIRED
    assert stopped.is_set()


async def test_the_streams_of_a_user_are_bounded_and_closed_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "open_streams", streams := OpenConnections("event streams", 1))
    async with aclosing(counted(Source(1, 2)(), 7)) as stream:
        streams.require_free(7)
        assert await anext(stream) == 1
        streams.require_free(8)
        with pytest.raises(AccessDenied) as caught:
            streams.require_free(7)
        assert (caught.value.code, caught.value.retry_after) == (ErrorCode.RATE_LIMITED, 10)
    streams.require_free(7)
