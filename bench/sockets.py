"""WebSockets of the load client: the library's protocol on a bare asyncio transport.

The library's own connection wakes a task for each frame, which costs the client more than the relay that it measures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

#: The subprotocol whose frames are events.
EVENTS = "codelab.v2"
#: Kinds of events that end a turn.
ENDS = frozenset({"turn_completed", "turn_failed", "turn_cancelled"})

type Message = dict[str, Any]


class Broken(Exception):
    """The socket cannot be used any more; the text says why."""


class Socket(asyncio.Protocol):
    """One WebSocket. `on_frame` gets each frame with the time at which its bytes arrived."""

    def __init__(self, url: str, subprotocol: str = "") -> None:
        chosen = [Subprotocol(subprotocol)] if subprotocol else None
        self._wire = ClientProtocol(parse_uri(url), subprotocols=chosen, max_size=None)
        self._closed = False
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.on_frame: Callable[[float, Message], None] = lambda _time, _frame: None
        self.on_close: Callable[[str], None] = lambda _reason: None
        self._fragments: list[bytes] = []

    @classmethod
    async def open(cls, url: str, subprotocol: str = "", timeout: float = 30) -> Socket:
        """Return a socket after its handshake; raises Broken."""
        where = parse_uri(url)
        socket = cls(url, subprotocol)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().create_connection(lambda: socket, where.host, where.port)
                await socket.opened
        except OSError as error:
            raise Broken(f"{url}: {type(error).__name__}") from error
        return socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wire.send_request(self._wire.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._wire.receive_data(data)
        self._flush()
        for event in self._wire.events_received():
            if isinstance(event, Frame):
                self._take(now, event)
            elif self._wire.handshake_exc:
                self._fail(f"the handshake failed: {self._wire.handshake_exc}")
            elif not self.opened.done():
                self.opened.set_result(None)

    def eof_received(self) -> None:
        self._wire.receive_eof()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the server closed the socket ({self._wire.close_code})")

    def send(self, frame: Message) -> None:
        """Send a JSON frame."""
        if self._closed:
            raise Broken("the socket is closed")
        self._wire.send_text(json.dumps(frame).encode())
        self._flush()

    def close(self) -> None:
        """Close the socket; it calls no callback any more."""
        self._closed = True
        self.on_frame = lambda _time, _frame: None
        self.on_close = lambda _reason: None
        self._wire.send_close(1000)
        self._flush()

    def _take(self, now: float, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.CONT):
            return
        if not frame.fin:
            self._fragments.append(bytes(frame.data))
            return
        data = b"".join([*self._fragments, frame.data])
        self._fragments.clear()
        self.on_frame(now, json.loads(data))

    def _flush(self) -> None:
        for data in self._wire.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()

    def _fail(self, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(Broken(reason))
        if not self._closed:
            self._closed = True
            self.on_close(reason)
