"""The base of all consumers of WebSockets: a client that does not read cannot make the process buffer its answers."""

import asyncio
from contextlib import suppress
from typing import Any

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

#: Answers that may wait for a client that does not read. Beyond that its next frame waits.
MAX_UNREAD_CHARACTERS = 64 * 1024


class BoundedSocket(AsyncWebsocketConsumer):
    """A socket that handles a client's next frame only when the client has read enough of the answers."""

    #: Set while the client reads; under a server without it nothing waits.
    writable: asyncio.Event | None = None
    unread_characters = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle the messages of a socket, one after the other, until it is closed.

        Consumers follow sessions by themselves (`Feed`). Channels would connect to the layer before the socket is even
        accepted, refuse it while Redis is away, and before each message close old connections in a thread that has
        none: verbs use the threads of `sessions.database`.
        """
        self.scope, self.base_send = scope, send
        with suppress(StopConsumer):
            while True:
                message = await receive()
                await getattr(self, get_handler_name(message))(message)

    async def send(  # type: ignore[override]  # as Channels' own consumer of sockets overrides it
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool = False
    ) -> None:
        """Send a frame, and count what is sent to a client that does not read."""
        if self.writable is not None:
            self.unread_characters = 0 if self.writable.is_set() else self.unread_characters + len(text_data or "")
        await super().send(text_data, bytes_data, close)

    async def websocket_receive(self, message: Any) -> None:
        """Handle a frame, and take the next one when the client has read enough of the answers."""
        await super().websocket_receive(message)
        # Only after the answer: a frame such as a cancel must not wait for a slow line.
        if self.writable is not None and self.unread_characters > MAX_UNREAD_CHARACTERS:
            await self.writable.wait()
