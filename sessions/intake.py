"""Takes what clients send, whichever door they came through: stores it, then tells workers and followers.

All of it is stored or nothing, within `PATIENCE`; what is told afterwards may be lost, because it can be found again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sessions import queue, tasks
from sessions.broker import require_broker
from sessions.changes import Accepted, Change
from sessions.feed import publish
from sessions.layer import WORKERS, tell
from sessions.models import EventKind
from sessions.threads import in_thread

#: Seconds in which a client hears that its message was taken or refused.
PATIENCE = 2.8


@asynccontextmanager
async def patience() -> AsyncIterator[float]:
    """Give up with TimeoutError after PATIENCE; yields the deadline, as `time.monotonic` counts."""
    deadline = time.monotonic() + PATIENCE
    async with asyncio.timeout(PATIENCE):
        yield deadline


async def take_message(
    session_id: uuid.UUID,
    content: str,
    *,
    client_message_id: str | None = None,
    interrupt: bool = False,
    agent: str | None = None,
    deadline: float,
) -> Accepted:
    """Store a user's message. Raises BrokerUnavailable, TooLate and database errors; then nothing was stored."""
    await require_broker()
    return await in_thread(queue.accept_message)(
        session_id,
        content,
        client_message_id=client_message_id,
        interrupt=interrupt,
        agent=agent,
        deadline=deadline,
    )


async def take[**P](verb: Callable[P, Change], *args: P.args, **kwargs: P.kwargs) -> Change:
    """Store whatever else a client asks for: a verb that locks the session; it needs no Redis, so nobody asks for it.

    Raises what the verb raises, and database errors; then nothing was stored.
    """
    return await in_thread(verb)(*args, **kwargs)


async def announce(change: Change) -> None:
    """Tell workers of the turn that is ready, and followers of the events. Never raises."""
    await tasks.send_soon(change.ready)
    await publish(change.events)
    for event in change.events:
        if event.kind == EventKind.TURN_CANCELLED:
            # Its worker would find out at its next write or sign of life; so it also lets a silent model go at once.
            await tell(WORKERS, {"type": "turn.stopped", "turn_id": event.payload["turn_id"]})
