"""Whether this web process is ending. It then accepts no new work, and answers what is under way.

This module must not import Django: the web server imports it before the apps exist.
"""

import asyncio
import random
from dataclasses import dataclass, field

#: Sockets and streams are closed over this time: all at once would make all clients reconnect in the same second.
CLOSE_SPREAD_SECONDS = 2.0


@dataclass(slots=True)
class Drain:
    """The state of this process."""

    is_draining: bool = False
    _waiting: set[asyncio.Future[None]] = field(default_factory=set)

    def begin(self) -> None:
        """Accept no new work from now on."""
        self.is_draining = True
        for future in list(self._waiting):
            if not future.done():
                future.set_result(None)

    async def until_closing(self) -> None:
        """Return when a stream without an end of its own is to be closed: soon after the drain began."""
        if not self.is_draining:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)
        await asyncio.sleep(random.uniform(0, CLOSE_SPREAD_SECONDS))


drain = Drain()
