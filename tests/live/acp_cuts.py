"""A TCP proxy that cuts each connection after a random number of bytes, at any place of a frame or a handshake."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

#: Bytes of a connection, in both directions together: from the middle of the handshake to a second of text.
MAX_BYTES = 15_000


class Cutter:
    """The proxy. It stops to cut after so many connections."""

    def __init__(self, port: int, cuts: int, seed: int) -> None:
        self._target, self.cuts_left, self.cuts = port, cuts, 0
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        left = [self._random.randrange(MAX_BYTES)] if self.cuts_left > 0 else None
        if left:
            self.cuts_left -= 1
        pumps = [
            asyncio.create_task(self._pump(reader, back, left)),
            asyncio.create_task(self._pump(there, writer, left)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if left and left[0] <= 0:
            self.cuts += 1
        for pump in pumps:
            pump.cancel()
        writer.transport.abort()
        back.transport.abort()
        self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: list[int] | None) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if left is not None:
                    data = data[: left[0]]
                    left[0] -= len(data)
                target.write(data)
                await target.drain()
                if left is not None and left[0] <= 0:
                    return

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def cutting(port: int, cuts: int, seed: int) -> AsyncIterator[tuple[Cutter, int]]:
    """Give a proxy before a port, and its own port."""
    cutter = Cutter(port, cuts, seed)
    server = await asyncio.start_server(cutter.accept, "127.0.0.1", 0)
    try:
        yield cutter, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await cutter.close()
