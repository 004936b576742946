"""The socket of a session. It opens again after every failure, until it is closed or the server refuses it for good.

Frames in, frames out: what they mean is the session's business.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from codelab_client.credentials import Credentials
from codelab_client.errors import CodelabError, ServerUnreachable, SessionClosed, SignInRequired
from codelab_client.events import Json

logger = logging.getLogger(__name__)

SUBPROTOCOL = "codelab.v2"
#: The `ref` of each socket's first frame.
HELLO = "hello"

#: The delay before another try is random below a bound that grows, so that not all clients come back at once.
MIN_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 5.0
#: The server answers every frame within 3 s; a connection that does not is dead, even if it is open.
ANSWER_SECONDS = 10.0
#: A shorter connection does not prove that the server is healthy, so the delay keeps growing.
STABLE_SECONDS = 5.0

#: Errors that pass by themselves. Nothing was stored.
PASSING_CODES = frozenset(
    {"storage_unavailable", "broker_unavailable", "shutting_down", "rate_limited", "hello_first", "too_many_frames"}
)

NOT_SIGNED_IN = 4401
RATE_LIMITED = 4429
#: After these another try cannot help: not allowed, invalid name, deleted (the server would make it again, empty).
FINAL_CODES = frozenset({4403, 4404, 4410})


class Connection:
    """Keeps a socket open. `hello()` returns the first frame of each; `receive(frame)` gets all that arrive."""

    def __init__(
        self,
        url: str,
        *,
        http: httpx.AsyncClient,
        credentials: Credentials,
        hello: Callable[[], Json],
        receive: Callable[[Json], None],
        closed: Callable[[], None],
    ) -> None:
        self._url = url.replace("http", "ws", 1)
        self._http, self._credentials = http, credentials
        self._hello, self._receive, self._closed = hello, receive, closed
        self._socket: ClientConnection | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._failures = 0
        #: A new token was fetched, because the last one was refused, and no socket has been welcomed with it yet.
        self._is_renewed = False
        self._last_error: CodelabError | None = None

    @property
    def last_error(self) -> CodelabError | None:
        """Return why it is not open, if it is not."""
        return self._last_error

    def send(self, frame: Json) -> None:
        """Send a frame if a socket is open; otherwise it is the caller's to send it again."""
        if self._socket is not None:
            task = asyncio.get_running_loop().create_task(self._send(self._socket, frame))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    def drop(self) -> None:
        """Close this socket; another one opens."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def run(self) -> None:
        """Stay connected until cancelled. Raises SessionClosed, SignInRequired."""
        while True:
            loop = asyncio.get_running_loop()
            started = loop.time()
            try:
                token = await self._credentials.token(self._http)
                code = await self._follow(token)
            except (ServerUnreachable, OSError, InvalidHandshake, TimeoutError) as error:
                code = 0
                self._note(error)
            except CodelabError as error:
                # Of a request for a new token.
                if not _passes(error):
                    raise
                code, self._last_error = 0, error
            finally:
                self._socket = None
                self._closed()
            if code == NOT_SIGNED_IN:
                # A new token that is refused, too, will not get better.
                if token is None or self._is_renewed:
                    raise SignInRequired("not_signed_in", str(self._last_error or "Sign in."))
                await self._try_to_renew(token)
                continue
            if code in FINAL_CODES:
                last = self._last_error or CodelabError(f"closed_{code}", "The session is closed.")
                raise SessionClosed(last.code, str(last))
            self._failures = 0 if loop.time() - started > STABLE_SECONDS else self._failures + 1
            await asyncio.sleep(self._delay(code))

    async def _follow(self, token: str | None) -> int:
        """Handle the frames of one socket and return the code that it was closed with."""
        headers = {"Authorization": f"Bearer {token}"} if token else None
        # Frames of the server have no limit, and a socket that is left is not worth waiting for.
        async with connect(
            self._url,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]  # a NewType of str
            additional_headers=headers,
            max_size=None,
            open_timeout=ANSWER_SECONDS,
            close_timeout=1,
        ) as socket:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await socket.send(encode(self._hello() | {"ref": HELLO}))
                    while (frame := json.loads(await socket.recv()))["type"] != "welcome":
                        self._read_refusal(frame)
                self._socket, self._last_error, self._is_renewed = socket, None, False
                self._receive(frame)
                async for text in socket:
                    frame = json.loads(text)
                    self._read_error(frame)
                    self._receive(frame)
            except ConnectionClosed:
                pass
            return socket.close_code or 0

    async def _send(self, socket: ClientConnection, frame: Json) -> None:
        try:
            await socket.send(encode(frame))
        except ConnectionClosed:
            logger.debug("The socket closed before a frame was sent.")

    async def _try_to_renew(self, token: str) -> None:
        try:
            await self._credentials.renew(self._http, token)
            self._is_renewed = True
        except CodelabError as error:
            if not _passes(error):
                raise
            self._last_error = error
            await asyncio.sleep(self._delay(0))

    def _read_refusal(self, frame: Json) -> None:
        """Read a frame before `welcome`. Raises SessionClosed for a `hello` that will never be accepted."""
        if frame.get("ref") != HELLO:
            self._read_error(frame)
            return
        error = error_of(frame)
        if error.code in PASSING_CODES:
            raise ServerUnreachable(str(error))
        raise SessionClosed(error.code, str(error))

    def _read_error(self, frame: Json) -> None:
        """Keep an error that names no frame: it says why the socket is closed next."""
        if frame["type"] == "error" and "ref" not in frame:
            self._last_error = error_of(frame)

    def _note(self, error: Exception) -> None:
        if isinstance(error, ServerUnreachable):
            self._last_error = error
            return
        reason: Any = error
        if isinstance(error, InvalidStatus):
            reason = f"HTTP {error.response.status_code}"
        self._last_error = ServerUnreachable(f"The server does not answer: {reason or type(error).__name__}")
        logger.debug("%s", self._last_error)

    def _delay(self, code: int) -> float:
        if code == RATE_LIMITED and self._last_error is not None and self._last_error.retry_after:
            return self._last_error.retry_after
        bound = min(MIN_RETRY_SECONDS * 2 ** min(self._failures, 8), MAX_RETRY_SECONDS)
        # Not for a secret: the delays of many clients have to differ.
        return MIN_RETRY_SECONDS / 2 + random.uniform(0, bound)


def _passes(error: CodelabError) -> bool:
    """Return whether a request that failed is worth another try: the server is away, restarts, or is busy."""
    return (
        isinstance(error, ServerUnreachable)
        or error.status == httpx.codes.TOO_MANY_REQUESTS
        or (error.status is not None and error.status >= httpx.codes.INTERNAL_SERVER_ERROR)
    )


def encode(frame: Json) -> str:
    """Return the text of a frame. Letters of other alphabets are not escaped: that would take six bytes for each."""
    return json.dumps(frame, ensure_ascii=False)


def error_of(frame: Json) -> CodelabError:
    """Return the error of a frame."""
    return CodelabError(frame["error_code"], frame["error"], retry_after=frame.get("retry_after"))
