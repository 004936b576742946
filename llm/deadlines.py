"""Time limits on one call of a model. They count content, not bytes: a provider's keep-alive lines do not count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from llm.errors import ModelError, ModelStalled, ModelTimedOut, ModelTookTooLong
from llm.types import Chunk


class _Alarm:
    """`asyncio.timeout_at` for waits that follow one another, with one timer for all of them.

    A timer for each chunk would cost as much as decoding it. This one is left alone when a chunk has come; when it goes
    off it looks how far the limit has moved meanwhile, and waits for the rest.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._at = 0.0
        self._cancelling = 0
        self._rang = False

    def at(self, when: float) -> Self:
        """Return the context of one wait, which ends with TimeoutError at this time of the loop."""
        self._at = when
        return self

    def __enter__(self) -> None:
        self._waiting = task = asyncio.current_task()
        # Somebody else may cancel the task in the same moment, and must not be taken for us.
        self._cancelling, self._rang = task.cancelling() if task else 0, False
        if self._timer is None or self._timer.when() > self._at:
            self.stop()
            self._timer = self._loop.call_at(self._at, self._ring)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._waiting = self._waiting, None
        if self._rang and task and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def stop(self) -> None:
        """Ring no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._waiting is None:
            # Whoever takes the chunks is slow, not who makes them. The next wait sets it again.
            return
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._ring)
        else:
            self._rang = True
            self._waiting.cancel()


async def with_deadlines(
    chunks: AsyncGenerator[Chunk], *, first: float, idle: float, whole: float
) -> AsyncGenerator[Chunk]:
    """Pass chunks on, within so many seconds to the first one, between two, and in all.

    Raises ModelTimedOut where none came in time, ModelStalled and ModelTookTooLong after that.
    """
    loop, alarm = asyncio.get_running_loop(), _Alarm()
    end = loop.time() + whole
    limit: float = first
    too_late: type[ModelError] = ModelTimedOut
    async with aclosing(chunks):
        try:
            while True:
                now = loop.time()
                try:
                    with alarm.at(min(now + limit, end)):
                        chunk = await anext(chunks)
                except TimeoutError as error:
                    if end < now + limit and too_late is ModelStalled:
                        raise ModelTookTooLong(f"not complete after {whole} s") from error
                    raise too_late(f"nothing for {limit} s") from error
                except StopAsyncIteration:
                    return
                yield chunk
                limit, too_late = idle, ModelStalled
        finally:
            alarm.stop()
