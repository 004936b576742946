"""The event log as server-sent events, for clients that have no WebSocket.

The number of an event is its SSE id, so that a browser's `Last-Event-ID` brings exactly what was missed.
"""

from __future__ import annotations

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
    """Yield the events with numbers above `after` as they come, for ever; while `writable` is not set they wait."""
    yield "retry: 1000\n\n"
    async with aclosing(with_heartbeat(aiter(Feed(session_id, after, writable)), HEARTBEAT_SECONDS)) as events:
        async for event in events:
            yield ": still here\n\n" if event is None else encoded(event)
            if event is not None and event.kind == EventKind.SESSION_DELETED:
                return


def encoded(event: LoggedEvent) -> str:
    """Return an event in the format of server-sent events; JSON has no raw line breaks, so one data line is enough."""
    data = json.dumps(numbered(event), ensure_ascii=False)
    return f"id: {event.number}\nevent: {event.kind}\ndata: {data}\n\n"


def numbered(event: LoggedEvent) -> dict[str, Any]:
    """Return an event as HTTP clients get it: as the event frames of the socket have it."""
    fields: dict[str, Any] = {"number": event.number, "kind": event.kind, "payload": event.payload}
    return fields if event.first is None else {"first": event.first, **fields}
