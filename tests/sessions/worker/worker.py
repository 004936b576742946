"""A worker without a process: runs turns in the loop of a test, against a provider over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from pytest_django import Settings

from llm import calls
from sessions.database import in_thread
from sessions.events.log import Attempt
from sessions.models import Session
from sessions.turns import completions, inbox
from sessions.turns.completions import CompletionRequest
from sessions.worker import runner
from sessions.worker.lease import Lease
from sessions.worker.writer import Writer

MODEL = "openai/fake"


class Worker:
    """What a worker process has."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.leases: dict[Attempt, Lease] = {}

    async def run(self, turn_id: uuid.UUID) -> None:
        await runner.advance(turn_id, worker="w", writer=self.writer, leases=self.leases)

    async def answer(self, session: Session, words: str) -> uuid.UUID:
        turn_id = await look(lambda: inbox.accept_message(session.pk, words).turn_id)
        await self.run(turn_id)
        return turn_id

    async def complete(self, owner: User, words: str, *, agent: str = "") -> uuid.UUID:
        asked = CompletionRequest(model=MODEL, agent=agent, messages=[{"role": "user", "content": words}])
        turn_id = await look(lambda: completions.accept(owner.pk, asked).turn_id)
        await self.run(turn_id)
        return turn_id


@asynccontextmanager
async def worker_of(provider_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    """Yield a worker whose one agent has the model of a provider."""
    settings.CODELAB_MODEL, settings.CODELAB_AGENTS = MODEL, "single"
    monkeypatch.setenv("OPENAI_API_BASE", provider_url)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(calls, "RETRY_DELAY_SECONDS", 0.01)
    it = Worker()
    writing = asyncio.create_task(it.writer.run())
    yield it
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await calls.close()
    layer: Any = get_channel_layer()
    await layer.flush()


async def look[T](read: Callable[[], T]) -> T:
    """Return what the database says."""
    return await in_thread(read)()
