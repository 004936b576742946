"""Leaves turns whose client has gone, and cancels them unless a repeated request follows them in time."""

import asyncio
import uuid
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from django.db import Error as DatabaseError

from sessions.api.commands import announce
from sessions.api.completions.turn_follower import TurnFollower
from sessions.database import in_thread
from sessions.models import Session
from sessions.turns import repeats

logger = structlog.get_logger(__name__)

#: Seconds that a turn goes on without a connection, because its client may be about to repeat the request: after a lost
#: connection, and after an answer of which a part was sent and that had to be begun again.
LOST_SECONDS, RESTARTED_SECONDS = 2.0, 60.0

#: What runs; the event loop itself keeps no task alive.
_tasks: set[asyncio.Task[None]] = set()


def leave(turn: TurnFollower, *, is_restarted: bool = False) -> asyncio.Task[None] | None:
    """Leave a turn, once. Return a task that ends when this is stored. None: there was nothing to leave."""
    if turn.keeps_running or turn.is_over or turn.is_left:
        return None
    turn.is_left = True
    wait = RESTARTED_SECONDS if is_restarted else LOST_SECONDS
    return _start(_leave(turn.session_id, turn.turn_id, wait), turn.turn_id)


def leave_unseen(session_id: uuid.UUID, turn_id: uuid.UUID) -> None:
    """Leave a turn whose client had gone before it followed the turn."""
    _start(_leave(session_id, turn_id, LOST_SECONDS), turn_id)


async def _leave(session_id: uuid.UUID, turn_id: uuid.UUID, wait: float) -> None:
    if lost_at := await in_thread(repeats.leave)(turn_id):
        _start(_cancel(session_id, turn_id, lost_at, wait), turn_id)


async def _cancel(session_id: uuid.UUID, turn_id: uuid.UUID, lost_at: datetime, wait: float) -> None:
    await asyncio.sleep(wait)
    with suppress(Session.DoesNotExist):
        announce(await in_thread(repeats.cancel_lost)(session_id, turn_id, lost_at))


def _start(work: Coroutine[Any, Any, None], turn_id: uuid.UUID) -> asyncio.Task[None]:
    async def run() -> None:
        try:
            await work
        except DatabaseError as error:
            # The turn goes on to its end, though no client waits for it.
            logger.warning("completion_not_stopped", turn_id=str(turn_id), error=type(error).__name__)

    task = asyncio.create_task(run())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task
