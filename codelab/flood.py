"""Detects floods: one client's frames that arrive faster than the service handles them.

Pure: the caller passes the time and what is waiting. A client that waits for the answer to each frame never floods,
however fast it is, because none of its frames wait.
"""

from dataclasses import dataclass

#: A client's frames, and their bytes, that may wait for the one that is being handled.
MAX_WAITING_FRAMES, MAX_WAITING_BYTES = 256, 4 * 1024 * 1024
#: Frames that a client may send while others wait: first a burst, then a rate.
BURST_FRAMES, FRAMES_PER_SECOND = 500.0, 100.0


@dataclass(slots=True)
class TokenBucket:
    """The frames that one client may still send."""

    max_waiting_bytes: int = MAX_WAITING_BYTES
    frames: float = BURST_FRAMES
    #: Bytes received since the queue was last empty, including those handled since then.
    waiting_bytes: int = 0
    #: When `frames` was last refilled, on the monotonic clock.
    refilled_at: float = 0.0

    def consume(self, size: int, *, waiting: int, now: float) -> bool:
        """Count a frame of `size` bytes and return whether it is within the limits while `waiting` others wait."""
        if waiting == 0:
            self.waiting_bytes = 0
        else:
            self.frames = min(BURST_FRAMES, self.frames + (now - self.refilled_at) * FRAMES_PER_SECOND) - 1
            self.refilled_at = now
        self.waiting_bytes += size
        return self.frames >= 0 and waiting < MAX_WAITING_FRAMES and self.waiting_bytes <= self.max_waiting_bytes
