"""The answer to a socket at a path without a session."""

from channels.generic.websocket import AsyncWebsocketConsumer


class NoSuchSocket(AsyncWebsocketConsumer):
    """Any other path: closed before it is accepted, which a client sees as HTTP 403."""

    channel_layer_alias = ""

    async def connect(self) -> None:
        await self.close()
