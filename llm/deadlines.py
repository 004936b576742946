"""Time limits on one call of a model. They count content, not bytes: a provider's keep-alive lines do not count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm.errors import ModelError, ModelStalled, ModelTimedOut, ModelTookTooLong
from llm.types import Chunk


async def with_deadlines(
    chunks: AsyncGenerator[Chunk], *, first: float, idle: float, whole: float
) -> AsyncGenerator[Chunk]:
    """Pass chunks on, within so many seconds to the first one, between two, and in all.

    Raises ModelTimedOut where none came in time, ModelStalled and ModelTookTooLong after that.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + whole
    limit: float = first
    too_late: type[ModelError] = ModelTimedOut
    async with aclosing(chunks):
        while True:
            now = loop.time()
            try:
                async with asyncio.timeout_at(min(now + limit, end)):
                    chunk = await anext(chunks)
            except TimeoutError as error:
                if end < now + limit and too_late is ModelStalled:
                    raise ModelTookTooLong(f"not complete after {whole} s") from error
                raise too_late(f"nothing for {limit} s") from error
            except StopAsyncIteration:
                return
            yield chunk
            limit, too_late = idle, ModelStalled
