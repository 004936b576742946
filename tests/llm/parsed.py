"""Reads the bytes of a stream as a worker does, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from agents import loop
from agents.events import StepFinished
from llm.sse import EventReader
from llm.types import Chunk
from llm.wire.answers import ModelReply


def chunks_of(pieces: Iterable[bytes]) -> list[Chunk]:
    """Return the chunks of an answer whose stream ends without a fault. Raises ModelError."""
    events, reply = EventReader(), ModelReply()
    chunks: list[Chunk] = []
    for piece in pieces:
        for event in events.feed(piece):
            chunks += reply.receive(event)
        if reply.is_over:
            break
    else:
        for event in events.finish():
            chunks += reply.receive(event)
    return chunks + reply.end()


async def _step(chunks: list[Chunk]) -> StepFinished:
    async def stream() -> AsyncGenerator[Chunk]:
        for chunk in chunks:
            yield chunk

    async with aclosing(loop.step(stream())) as events:
        async for event in events:
            if isinstance(event, StepFinished):
                return event
    raise AssertionError("a step ends with StepFinished or an error")


def answer_of(*pieces: bytes) -> StepFinished:
    """Return the answer in a stream. Raises ModelError."""
    return asyncio.run(_step(chunks_of(pieces)))
