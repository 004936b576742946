"""A TCP proxy that cuts connections in the middle of anything."""

from __future__ import annotations

import asyncio
import contextlib
import random
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Forwards bytes to a server, and cuts each connection after a random number of them, so many times."""

    def __init__(self, target: str, *, cuts: int = 0, most_bytes: int = 4000, seed: int = 1) -> None:
        address = urlsplit(target)
        self._host, self._port = address.hostname or "", address.port or 0
        self.cuts_left, self._most_bytes = cuts, most_bytes
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
            left = [self._random.randint(1, self._most_bytes) if self.cuts_left else 10**9]
            pumps = (self._pump(reader, back, left), self._pump(there, writer, left))
            _, rest = await asyncio.wait(
                [asyncio.ensure_future(pump) for pump in pumps], return_when=asyncio.FIRST_COMPLETED
            )
            for one in rest:
                one.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            for each in (writer, back):
                each.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1024):
                data, left[0] = data[: left[0]], left[0] - len(data)
                writer.write(data)
                await writer.drain()
                if left[0] <= 0:
                    self.cuts_left -= 1
                    return
