"""Takes what clients send, whichever door they came through: stores it, then tells workers and followers.

All of it is stored or nothing, within `PATIENCE`; what is told afterwards may be lost, because it can be found again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sessions import lifecycle, queue, tasks, toolcalls
from sessions.broker import require_broker
from sessions.changes import Accepted, Change
from sessions.feed import publish
from sessions.layer import WORKERS, tell
from sessions.models import EventKind
from sessions.threads import in_thread

#: Seconds in which a client hears that its message was taken or refused.
PATIENCE = 2.8

#: What is being told at the moment; the event loop itself keeps no task alive.
_telling: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def patience() -> AsyncIterator[float]:
    """Give up with TimeoutError after PATIENCE; yields the deadline, as `time.monotonic` counts."""
    deadline = time.monotonic() + PATIENCE
    async with asyncio.timeout(PATIENCE):
        yield deadline


async def take_message(
    session_id: uuid.UUID, content: str, *, client_message_id: str | None, interrupt: bool, deadline: float
) -> Accepted:
    """Store a user's message. Raises BrokerUnavailable, TooLate and database errors; then nothing was stored."""
    await require_broker()
    accept = in_thread(queue.accept_message)
    return await accept(
        session_id, content, client_message_id=client_message_id, interrupt=interrupt, deadline=deadline
    )


async def take_edit(session_id: uuid.UUID, message_id: uuid.UUID, content: str, *, deadline: float) -> Change:
    """Change a message that waits. Raises MessageRefused, TooLate and database errors."""
    return await in_thread(queue.edit_message)(session_id, message_id, content, deadline=deadline)


async def take_withdrawal(session_id: uuid.UUID, message_id: uuid.UUID, *, deadline: float) -> Change:
    """Take back a message that waits. Raises MessageRefused, TooLate and database errors."""
    return await in_thread(queue.withdraw_message)(session_id, message_id, deadline=deadline)


async def take_cancel(session_id: uuid.UUID, turn_id: uuid.UUID | None, *, deadline: float) -> Change:
    """Stop a turn; works while Redis is away, too. Raises NothingToCancel, TooLate and database errors."""
    return await in_thread(lifecycle.cancel)(session_id, turn_id, deadline=deadline)


async def take_tool_result(
    session_id: uuid.UUID, call_id: str, *, content: str, failed: bool, deadline: float
) -> Change:
    """Store the result of a tool. Raises ToolCallRefused besides what `take_message` raises."""
    await require_broker()
    record = in_thread(toolcalls.record_tool_result)
    return await record(session_id, call_id, content=content, failed=failed, deadline=deadline)


def announce(change: Change) -> None:
    """Tell workers of the turn that is ready, and followers of the events, in a while.

    Nobody waits for it: a frozen Redis would hold up the next frame of a socket, be it the one that stops a turn.
    """
    telling = asyncio.create_task(_tell(change))
    _telling.add(telling)
    telling.add_done_callback(_telling.discard)


async def _tell(change: Change) -> None:
    await tasks.send_soon(change.ready)
    await publish(change.events)
    for event in change.events:
        if event.kind == EventKind.TURN_CANCELLED:
            # Its worker would find out at its next write or sign of life; so it also lets a silent model go at once.
            await tell(WORKERS, {"type": "turn.stopped", "turn_id": event.payload["turn_id"]})
