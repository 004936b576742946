"""Time limits on a model's silence. They count content, not bytes: a provider's keep-alive lines do not count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llm.errors import ModelError, ModelStalled, ModelTimedOut
from llm.types import Chunk


async def with_deadlines(chunks: AsyncGenerator[Chunk], *, first: float, idle: float) -> AsyncGenerator[Chunk]:
    """Pass chunks on; raise ModelTimedOut without a first one in `first` seconds, ModelStalled after `idle` silent."""
    async with aclosing(chunks):
        limit: float = first
        too_late: type[ModelError] = ModelTimedOut
        while True:
            try:
                async with asyncio.timeout(limit):
                    chunk = await anext(chunks)
            except TimeoutError as error:
                raise too_late(f"nothing for {limit} s") from error
            except StopAsyncIteration:
                return
            yield chunk
            limit, too_late = idle, ModelStalled
