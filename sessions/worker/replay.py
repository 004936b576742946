"""Sends the prompt of a replay to its model, in a worker. Writes nothing but the replay and its row in the ledger."""

import asyncio
import uuid
from contextlib import aclosing
from dataclasses import replace

import structlog
from django.conf import settings

from agents import loop
from agents.events import StepFinished
from llm.errors import ModelError
from llm.types import CallRecord
from sessions.turns import replays
from sessions.worker import model_access
from sessions.worker.retries import with_retries

logger = structlog.get_logger(__name__)


async def run(replay_id: uuid.UUID, *, worker: str) -> None:
    """Send a replay's prompt once and store the answer. Does nothing when another worker has taken it."""
    started = await with_retries(replays.start, replay_id, worker)
    if started is None:
        return
    replay, request = started
    request = replace(
        request,
        first_token_timeout=settings.CODELAB_FIRST_TOKEN_TIMEOUT,
        idle_timeout=settings.CODELAB_IDLE_TOKEN_TIMEOUT,
        call_timeout=settings.CODELAB_MODEL_CALL_TIMEOUT,
    )
    calls: list[CallRecord] = []
    reply, error = None, ""
    try:
        chunks = model_access.stream_for_operator(request, observe=calls.append)
        async with aclosing(chunks), aclosing(loop.step(chunks)) as events:
            async for event in events:
                if isinstance(event, StepFinished):
                    reply = event
    except ModelError as raised:
        error = raised.detail or str(raised)
    except asyncio.CancelledError:
        # The process ends.
        error = replays.LOST
        raise
    finally:
        await with_retries(lambda: replays.finish(replay, calls, reply=reply, error=error))
    logger.info("prompt_replayed", model=replay.model, has_answer=reply is not None)
