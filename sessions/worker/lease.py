"""What a worker process knows of a turn that it has claimed."""

import asyncio
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Lease:
    """A turn that this process has claimed, with the task that runs it."""

    task: asyncio.Task[None]
    #: Another attempt has the turn: stop, and write nothing.
    is_lost: bool = False
    #: The transaction that ends the step is under way. It finds out by itself whether the attempt still has its turn.
    is_ending: bool = False

    def abandon(self) -> None:
        """Cancel a step that no longer has its turn, unless that is because it has just ended."""
        if not self.is_ending:
            self.is_lost = True
            self.cancel()

    def cancel(self) -> None:
        """Cancel the step. Again, it does nothing: that would interrupt the release, or the record of its costs."""
        if not self.task.cancelling():
            self.task.cancel()
