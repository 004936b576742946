"""Time limits on one call of a model. Only content counts, not a provider's keep-alive lines."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from llm.errors import ModelError, ModelStalled, ModelTimedOut, ModelTookTooLong
from llm.types import Chunk


class _Alarm:
    """`asyncio.timeout_at` for successive waits, with one timer for all of them.

    A timer for each chunk would cost as much as decoding it. This one stays when a chunk arrives. When it fires, it
    waits for the rest if the limit has moved meanwhile.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._deadline = 0.0
        self._cancel_requests = 0
        self._is_expired = False

    def until(self, deadline: float) -> Self:
        """Return the context of one wait, which ends with TimeoutError at this time of the loop."""
        self._deadline = deadline
        return self

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        # Tells a cancellation by other code at the same moment from one by this timer.
        self._cancel_requests, self._is_expired = task.cancelling() if task else 0, False
        if self._timer is None or self._timer.when() > self._deadline:
            self.stop()
            self._timer = self._loop.call_at(self._deadline, self._expire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task, self._task = self._task, None
        if self._is_expired and task and task.uncancel() <= self._cancel_requests and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._task is None:
            # The consumer of the chunks is slow, not the provider. The next wait sets the timer again.
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._expire)
        else:
            self._is_expired = True
            self._task.cancel()


async def with_deadlines(
    chunks: AsyncGenerator[Chunk], *, first: float, idle: float, whole: float
) -> AsyncGenerator[Chunk]:
    """Yield the chunks, with limits in seconds for the first one, between two, and for all.

    Raises ModelTimedOut if none arrives in time, ModelStalled or ModelTookTooLong after the first one.
    """
    loop, alarm = asyncio.get_running_loop(), _Alarm()
    end = loop.time() + whole
    limit: float = first
    timeout_error: type[ModelError] = ModelTimedOut
    async with aclosing(chunks):
        try:
            while True:
                now = loop.time()
                try:
                    with alarm.until(min(now + limit, end)):
                        chunk = await anext(chunks)
                except TimeoutError as error:
                    if end < now + limit and timeout_error is ModelStalled:
                        raise ModelTookTooLong(f"not complete after {whole} s") from error
                    raise timeout_error(f"nothing for {limit} s") from error
                except StopAsyncIteration:
                    return
                yield chunk
                limit, timeout_error = idle, ModelStalled
        finally:
            alarm.stop()
