"""The server's side of `codelab acp`: a WebSocket to `/acp` that opens again after every failure."""

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from codelab_cli.acp_stdio import INTERNAL_ERROR, Message

logger = logging.getLogger(__name__)

MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.2, 5.0
#: So long an editor waits for a server that was never reached.
FIRST_SECONDS = 10.0
OPEN_SECONDS = 10.0
AUTH_REQUIRED = -32000
#: The server closes with these when signing in again is what helps, or nothing.
REFUSED_CODES = frozenset({4401, 4403})


class LinkLost(Exception):
    """The connection ended before the answer."""


class ServerLink:
    """Keeps a connection open. `opened` is called with each new one, `received` with each message, `lost` at its end.

    `failed` is called with a sentence when the server was never reached, or refuses the client.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Callable[[], Awaitable[str | None]],
        opened: Callable[[], Awaitable[None]],
        received: Callable[[Message], Awaitable[None]],
        lost: Callable[[], None],
        failed: Callable[[str, int], Awaitable[None]],
    ) -> None:
        self._url = url.replace("http", "ws", 1).rstrip("/") + "/acp"
        self._token, self._opened, self._received, self._lost, self._failed = token, opened, received, lost, failed
        self._socket: ClientConnection | None = None
        self._refusal = self._problem = ""
        self._wanted = asyncio.Event()
        self._wanted.set()

    def want(self) -> None:
        """Connect again after a refusal, because the editor asks for something."""
        self._wanted.set()

    async def send(self, message: Message) -> None:
        """Send a message. Raises LinkLost."""
        if self._socket is None:
            raise LinkLost
        try:
            await self._socket.send(json.dumps({"jsonrpc": "2.0", **message}))
        except ConnectionClosed:
            raise LinkLost from None

    async def run(self) -> None:
        """Connect, again and again, until it is cancelled."""
        delay, was_open, begun = MIN_RETRY_SECONDS, False, time.monotonic()
        while True:
            await self._wanted.wait()
            try:
                # A server that takes the socket and says no, such as to one too many, is not asked faster for that.
                if await self._follow():
                    was_open, delay = True, MIN_RETRY_SECONDS
            except (OSError, InvalidHandshake, TimeoutError) as error:
                self._problem = f"The server does not answer: {error or type(error).__name__}"
                logger.info("%s", self._problem)
            if not was_open and not self._refusal and time.monotonic() - begun > FIRST_SECONDS:
                await self._failed(self._problem or "The server closes each connection.", INTERNAL_ERROR)
            if self._refusal:
                await self._failed(f"{self._refusal} `codelab login` signs in.", AUTH_REQUIRED)
                self._refusal = ""
                self._wanted.clear()
                continue
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(2 * delay, MAX_RETRY_SECONDS)

    async def _follow(self) -> bool:
        """Handle the messages of one connection; return whether the server has answered anything on it."""
        token = await self._token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with connect(
            self._url, additional_headers=headers, max_size=None, open_timeout=OPEN_SECONDS, compression=None
        ) as socket:
            self._socket = socket
            opening = asyncio.ensure_future(self._opened())
            last_error, has_answered = "", False
            try:
                async for text in socket:
                    message: Any = json.loads(text)
                    if message.get("id") is None and "error" in message:
                        last_error = str(message["error"].get("message", ""))
                    else:
                        has_answered = True
                    await self._receive(message)
            except ConnectionClosed:
                pass
            finally:
                self._socket = None
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
                self._lost()
            self._problem = last_error
            if socket.close_code in REFUSED_CODES:
                self._refusal = last_error or "The server does not accept this client."
            return has_answered

    async def _receive(self, message: Message) -> None:
        """Handle a message. One that cannot be handled costs only itself."""
        try:
            await self._received(message)
        except LinkLost:
            logger.debug("The connection ended while a message was handled.")
        except Exception:
            logger.exception("A message of the server was not handled.")
