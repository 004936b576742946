"""Publishes and subscribes to messages between processes, over the channel layer.

The layer may lose, repeat and delay anything, so nothing may depend on a message: events are in the log, and a stopped
turn refuses its worker's writes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import structlog
from channels.layers import get_channel_layer

logger = structlog.get_logger(__name__)

#: The groups of all worker processes, and of all processes with clients.
WORKERS, SESSIONS = "workers", "sessions"
#: Seconds before another try to reach the layer.
RETRY_DELAY_SECONDS = 1.0


async def publish(group: str, message: dict[str, Any]) -> None:
    """Send a message to all subscribers of a group. Never raises."""
    layer: Any = get_channel_layer()
    try:
        await layer.group_send(group, message)
    except Exception as error:
        # What the message is about is stored already: no error of any layer may fail the caller.
        logger.warning("layer_not_reached", group=group, error=type(error).__name__)


async def subscribe(group: str) -> AsyncIterator[dict[str, Any] | None]:
    """Yield a group's messages for ever, and None after each (re)connection: messages may have been lost before."""
    layer: Any = get_channel_layer()
    while True:
        channel = None
        try:
            channel = await layer.new_channel()
            await layer.group_add(group, channel)
            yield None
            while True:
                yield await layer.receive(channel)
        except (asyncio.CancelledError, GeneratorExit):
            if channel is not None:
                with suppress(Exception):
                    await layer.group_discard(group, channel)
            raise
        except Exception as error:
            logger.warning("layer_failed", group=group, error=type(error).__name__)
        await asyncio.sleep(RETRY_DELAY_SECONDS)
