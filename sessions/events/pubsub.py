"""Publishes and receives messages between processes, over the channel layer.

The layer may lose, repeat and delay anything, so nothing may depend on a message: events are in the log, and a stopped
turn refuses its worker's writes. Other versions of the service send messages too, while an update is rolled out. So a
message that cannot be read is skipped, and may never end a listener. A later version may add fields to a message; one
that needs another form gets another type.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from channels.layers import get_channel_layer
from pydantic import BaseModel, Field, TypeAdapter

from sessions import metrics

logger = structlog.get_logger(__name__)

#: The groups of all worker processes, and of all processes with clients.
WORKERS, SESSIONS = "workers", "sessions"
#: Seconds before another try to reach the layer.
RETRY_DELAY_SECONDS = 1.0
#: Seconds between two log lines about messages that a listener skipped.
SKIPPED_LOG_SECONDS = 60.0

#: An event as a message carries it: number, kind, payload.
type WireEvent = tuple[Annotated[int, Field(gt=0)], str, dict[str, Any]]


class SessionEvents(BaseModel):
    """Committed events, by session. To all processes with clients."""

    # Channels picks a handler by the type, so it is fixed: no client can choose one.
    type: Literal["session.events"] = "session.events"
    events: list[tuple[UUID, list[WireEvent]]]
    #: The hub that has sent it, and told its own feeds before.
    hub: str = ""


class TurnStopped(BaseModel):
    """A user has stopped a turn. To all workers."""

    type: Literal["turn.stopped"] = "turn.stopped"
    turn_id: UUID


#: For one message. Subscribers look into the log every two seconds, so a later one is of no use.
PUBLISH_TIMEOUT_SECONDS = 2.0


async def publish(group: str, message: dict[str, Any]) -> None:
    """Send a message to all listeners of a group. Never raises."""
    layer: Any = get_channel_layer()
    try:
        async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
            await layer.group_send(group, message)
    except Exception as error:
        # What the message is about is stored already: no error of any layer may fail the caller.
        logger.warning("layer_not_reached", group=group, error=type(error).__name__)


async def listen[M: BaseModel](group: str, kind: type[M], handle: Callable[[M | None], None]) -> None:
    """Call `handle` with a group's messages until cancelled, whatever arrives and whatever `handle` raises.

    `handle` gets None when messages may have been lost: after each subscription, and after a message that was skipped.
    """
    layer: Any = get_channel_layer()
    adapter = TypeAdapter(kind)
    skipped = _Skipped(group)
    channel: str | None = None
    try:
        while True:
            try:
                # The same channel again after an error: an abandoned one would collect unread messages.
                channel = channel or await layer.new_channel()
                await layer.group_add(group, channel)
                _call(handle, None, skipped)
                while True:
                    await _receive(layer, channel, adapter, handle, skipped)
            except Exception as error:
                logger.warning("layer_failed", group=group, error=type(error).__name__)
            await asyncio.sleep(RETRY_DELAY_SECONDS)
    finally:
        if channel is not None:
            with suppress(Exception):
                await layer.group_discard(group, channel)


async def _receive[M: BaseModel](
    layer: Any, channel: str, adapter: TypeAdapter[M], handle: Callable[[M | None], None], skipped: "_Skipped"
) -> None:
    try:
        # Raises errors of many types for bytes that are not a message.
        raw = await layer.receive(channel)
        message = adapter.validate_python(raw)
    except Exception as error:
        skipped.add(error)
        _call(handle, None, skipped)
        # Without a message each call would fail at once, and the loop would never get a turn.
        await asyncio.sleep(0)
    else:
        _call(handle, message, skipped)


def _call[M](handle: Callable[[M | None], None], message: M | None, skipped: "_Skipped") -> None:
    try:
        handle(message)
    except Exception as error:
        skipped.add(error)


class _Skipped:
    """Counts the messages that a listener skipped. Logs the first, and then one line a minute at most."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._count = 0
        self._next_line_at = 0.0

    def add(self, error: Exception) -> None:
        metrics.layer_messages_skipped.labels(group=self._group).inc()
        self._count += 1
        if time.monotonic() >= self._next_line_at:
            # Not the error's own text, which quotes the message.
            fields = {"error": type(error).__name__, "skipped": self._count}
            logger.warning("layer_message_skipped", group=self._group, **fields)
            self._count, self._next_line_at = 0, time.monotonic() + SKIPPED_LOG_SECONDS
