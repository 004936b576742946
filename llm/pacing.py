"""Lets other tasks run while one task handles data that is there already, from a source that never makes it wait."""

import asyncio
import time

#: Far below what a person notices in another stream, and far above what a pause costs.
MAX_BUSY_SECONDS = 0.01


class Pacer:
    """Gives the event loop a turn when its task has been busy for MAX_BUSY_SECONDS."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    async def pause(self) -> None:
        """Let other tasks run, if it is time."""
        if time.monotonic() - self._started_at >= MAX_BUSY_SECONDS:
            await asyncio.sleep(0)
            self._started_at = time.monotonic()
