"""The requests that the server makes to a client, and their answers."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from sessions.api.acp import rpc

#: A request that waits for a person has no time limit; those of programs have this one.
PROGRAM_TIMEOUT_SECONDS = 30.0


class ClientFailed(Exception):
    """The client answered a request with an error; the text is the client's."""


class Peer:
    """The client's side of a connection."""

    def __init__(self, send: Callable[[str], Awaitable[None]]) -> None:
        self._send = send
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._is_closed = False

    async def request(self, method: str, params: dict[str, Any], *, timeout: float | None = None) -> Any:
        """Return the result of a request. Raises ClientFailed, and TimeoutError. Cancelling it tells the client."""
        if self._is_closed:
            raise ClientFailed("The client is gone.")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(rpc.request(number, method, params))
            async with asyncio.timeout(timeout):
                return await answer
        except (asyncio.CancelledError, TimeoutError):
            if not self._is_closed:
                await self._send(rpc.notification("$/cancel_request", {"requestId": number}))
            raise
        finally:
            del self._waiting[number]

    def settle(self, response: rpc.Response) -> None:
        """Give an answer to the request that waits for it. An answer that no request waits for is ignored."""
        number = response.id
        if isinstance(number, str) and number.isdecimal() and len(number) < 10:
            # Some clients turn ids into strings.
            number = int(number)
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None or answer.done():
            return
        if response.error:
            answer.set_exception(ClientFailed(str(response.error.get("message", "unknown error"))[:1000]))
        else:
            answer.set_result(response.result)

    def close(self) -> None:
        """Stop sending: the socket is closed."""
        self._is_closed = True
