"""The limits on one call, with short times. Margins are wide, so that only a silent model is ever too late."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from llm.deadlines import with_deadlines
from llm.errors import ModelStalled, ModelTimedOut
from llm.types import Chunk, TextChunk

PAUSE = 0.05
LONG = 30.0


class Model:
    """Says something every PAUSE seconds, then nothing."""

    def __init__(self, said: int) -> None:
        self.said, self.is_closed = said, False

    async def chunks(self) -> AsyncGenerator[Chunk]:
        try:
            for i in range(self.said):
                yield TextChunk(str(i))
                await asyncio.sleep(PAUSE)
            await asyncio.sleep(LONG)
        finally:
            self.is_closed = True


async def test_a_limit_starts_anew_with_each_chunk() -> None:
    model, heard = Model(20), 0
    loop = asyncio.get_running_loop()
    with pytest.raises(ModelStalled):
        async with aclosing(with_deadlines(model.chunks(), first=LONG, idle=0.5, whole=LONG)) as chunks:
            async for _ in chunks:
                heard, heard_at = heard + 1, loop.time()
    assert heard == 20, "the whole takes twice as long as one silence may"
    assert loop.time() - heard_at >= 0.49
    assert model.is_closed


async def test_a_limit_may_be_shorter_than_the_one_before_it() -> None:
    async with asyncio.timeout(LONG / 2):
        with pytest.raises(ModelStalled):
            async for _ in with_deadlines(Model(1).chunks(), first=LONG, idle=0.1, whole=LONG):
                pass


async def test_a_slow_reader_is_not_a_silent_model() -> None:
    model, heard = Model(3), 0
    with pytest.raises(ModelStalled):
        async for _ in with_deadlines(model.chunks(), first=0.5, idle=0.5, whole=LONG):
            heard += 1
            await asyncio.sleep(0.7)
    assert heard == 3


@pytest.mark.parametrize("order", ["stop first", "limit first"])
async def test_a_cancellation_at_the_deadline_stays_a_cancellation(order: str) -> None:
    """The task is cancelled twice at the same moment; the cancellation from outside must win."""
    model, loop = Model(0), asyncio.get_running_loop()

    async def read() -> None:
        async for _ in with_deadlines(model.chunks(), first=0.1, idle=LONG, whole=LONG):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    loop.call_later(0.09 if order == "stop first" else 0.11, task.cancel)
    # Both are due when the loop comes to look.
    loop.call_soon(time.sleep, 0.2)
    await asyncio.wait([task])
    assert task.cancelled()
    assert model.is_closed


async def test_a_timeout_leaves_no_cancellation_behind() -> None:
    with pytest.raises(ModelTimedOut):
        await anext(with_deadlines(Model(0).chunks(), first=0.05, idle=LONG, whole=LONG))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
