"""Takes what clients send, whichever door they came through: stores it, then tells workers and followers.

All of it is stored or nothing, within `PATIENCE`; what is told afterwards may be lost, because it can be found again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sessions import lifecycle, tasks
from sessions.broker import require_broker
from sessions.changes import Accepted, Change
from sessions.feed import publish
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
    session_id: uuid.UUID, content: str, *, client_message_id: str | None, deadline: float
) -> Accepted:
    """Store a user's message. Raises BrokerUnavailable, TooLate and database errors; then nothing was stored."""
    await require_broker()
    accept = in_thread(lifecycle.accept_message)
    return await accept(session_id, content, client_message_id=client_message_id, deadline=deadline)


async def take_cancel(session_id: uuid.UUID, turn_id: uuid.UUID | None, *, deadline: float) -> Change:
    """Stop a turn; works while Redis is away, too. Raises NothingToCancel, TooLate and database errors."""
    return await in_thread(lifecycle.cancel)(session_id, turn_id, deadline=deadline)


async def take_tool_result(
    session_id: uuid.UUID, call_id: str, *, content: str, failed: bool, deadline: float
) -> Change:
    """Store the result of a tool. Raises ToolCallRefused besides what `take_message` raises."""
    await require_broker()
    record = in_thread(lifecycle.record_tool_result)
    return await record(session_id, call_id, content=content, failed=failed, deadline=deadline)


async def announce(change: Change) -> None:
    """Tell workers of the turn that is ready, and followers of the events. Never raises."""
    await tasks.send_soon(change.ready)
    await publish(change.events)
