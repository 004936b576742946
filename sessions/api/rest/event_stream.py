"""Streams a session's events as server-sent events, for clients without a WebSocket.

The number of an event is its SSE id, so a browser that reconnects with `Last-Event-ID` misses no event.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from sessions.api.streaming import with_heartbeat
from sessions.events.feed import Feed
from sessions.events.log import LoggedEvent
from sessions.models import EventKind

#: Seconds between two comments on a silent stream, so that proxies keep it open.
HEARTBEAT_SECONDS = 15.0


async def stream(session_id: uuid.UUID, after: int, writable: asyncio.Event | None = None) -> AsyncGenerator[str]:
    """Yield the events with numbers above `after`, without end, pausing while `writable` is not set."""
    yield "retry: 1000\n\n"
    async with aclosing(with_heartbeat(aiter(Feed(session_id, after, writable)), HEARTBEAT_SECONDS)) as events:
        async for event in events:
            yield ": still here\n\n" if event is None else _encode(event)
            if event is not None and event.kind == EventKind.SESSION_DELETED:
                return


def _encode(event: LoggedEvent) -> str:
    """Return an event in the format of server-sent events, with the fields of the WebSocket's event frames."""
    fields: dict[str, Any] = {"number": event.number, "kind": event.kind, "payload": event.payload}
    if event.first is not None:
        fields = {"first": event.first, **fields}
    # JSON has no raw line breaks, so one data line is enough.
    return f"id: {event.number}\nevent: {event.kind}\ndata: {json.dumps(fields, ensure_ascii=False)}\n\n"
