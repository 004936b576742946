"""A small TCP proxy in front of a server that disturbs its connections.

One `Link` is one listening port. It can cut connections, each at a random byte or all at once, swallow bytes as a
half-open connection does, and hold them back. Its own port stays the same whatever happens to the server behind it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import cast

from codelab.local.operating_system import LOOPBACK

#: Chooses after how many bytes from the server a new connection is cut; None for never.
type Budget = Callable[[], int | None]


class Link:
    """All connections to one server through one port."""

    def __init__(self, name: str, target: Callable[[], int], budget: Budget = lambda: None) -> None:
        self.name = name
        self.target = target
        self.budget = budget
        self.port = 0
        #: Delay of every piece, in seconds.
        self.delay = 0.0
        self.cuts = 0
        self._swallowing = False
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(_Pair(self)), LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop everything."""
        if self._server:
            self._server.close()
        self.cut()

    def cut(self, share: float = 1, dice: random.Random | None = None) -> None:
        """Reset all connections, or a share of them."""
        for pair in list(self._pairs):
            if dice is None or dice.random() < share:
                pair.cut()

    async def swallow(self, seconds: float) -> None:
        """Lose every byte for a while, then reset the connections that lost some, because their streams are broken."""
        self._swallowing = True
        await asyncio.sleep(seconds)
        self._swallowing = False
        for pair in [pair for pair in self._pairs if pair.lost]:
            pair.cut()

    async def hold_back(self, delay: float, seconds: float) -> None:
        """Delay every piece for a while."""
        self.delay = delay
        await asyncio.sleep(seconds)
        self.delay = 0.0


class _Pair:
    """One connection through the proxy: the client's side and the server's."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.left = link.budget()
        self.lost = False
        self.client: _Side | None = None
        self.server: _Side | None = None
        link._pairs.add(self)

    async def reach(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: _Side(self, to_server=True), LOOPBACK, self.link.target())
        except OSError:
            self.cut()

    def cut(self) -> None:
        """End both sides at once."""
        if self in self.link._pairs:
            self.link._pairs.discard(self)
            self.link.cuts += 1
            for side in (self.client, self.server):
                if side and side.transport:
                    side.transport.abort()

    def pass_on(self, origin: _Side, data: bytes) -> None:
        """Copy bytes from one side to the other, subject to the cuts and delays of the link."""
        if self.link._swallowing:
            self.lost = True
            return
        other = self.client if origin.to_server else self.server
        if other is None:
            origin.waiting.append(data)
            return
        if origin.to_server and self.left is not None:
            if self.left <= 0:
                return
            data, self.left = data[: self.left], self.left - len(data)
            other.write(data)
            if self.left <= 0:
                # Half of the connections close properly, so that their last bytes arrive; the others are reset.
                if self.left % 2:
                    self.link.cuts += 1
                    other.close()
                else:
                    self.cut()
            return
        other.write(data)


class _Side(asyncio.Protocol):
    """One of the two ends of a connection through the proxy."""

    def __init__(self, pair: _Pair, *, to_server: bool = False) -> None:
        self.pair, self.to_server = pair, to_server
        self.transport: asyncio.Transport | None = None
        self.waiting: list[bytes] = []
        self._held: deque[tuple[float, bytes]] = deque()
        self._ending = False

    @property
    def other(self) -> _Side | None:
        return self.pair.client if self.to_server else self.pair.server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.to_server:
            self.pair.server = self
            client = self.pair.client
            if client is None or client.transport is None or client.transport.is_closing():
                self.transport.abort()
                return
            for data in client.waiting:
                self.write(data)
            client.waiting.clear()
        else:
            self.pair.client = self
            self._reaching = asyncio.ensure_future(self.pair.reach())

    def data_received(self, data: bytes) -> None:
        self.pair.pass_on(self, data)

    def write(self, data: bytes) -> None:
        """Send bytes to this end in order, with the delay of the link."""
        if self.transport is None or self.transport.is_closing():
            return
        loop = asyncio.get_running_loop()
        if self.pair.link.delay or self._held:
            self._held.append((loop.time() + self.pair.link.delay, data))
            loop.call_later(self.pair.link.delay, self._flush)
        else:
            self.transport.write(data)

    def _flush(self) -> None:
        now = asyncio.get_running_loop().time() + 0.001
        while self._held and self.transport and not self.transport.is_closing():
            if self._held[0][0] > now:
                asyncio.get_running_loop().call_later(self._held[0][0] - now, self._flush)
                return
            self.transport.write(self._held.popleft()[1])
        if self._ending and self.transport:
            self.transport.close()

    def close(self) -> None:
        """Close this side when all delayed bytes are sent."""
        self._ending = True
        if not self._held and self.transport:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.pair.link._pairs.discard(self.pair)
        if self.other:
            self.other.close()

    def pause_writing(self) -> None:
        if self.other and self.other.transport and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


def often(dice: random.Random, least: int, most: int) -> Budget:
    """Return a budget that cuts every connection, after few bytes as often as after ten times as many."""
    return lambda: int(least * (most / least) ** dice.random())
