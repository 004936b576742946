"""When the frames of one client are a flood: more than the service can take of it.

Pure: it is told what waits and what time it is, and judges. A client that waits for the answer to each frame never
floods, however fast it is, because nothing of it waits.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Frames of a client, and their bytes, that may wait for the one that is being handled.
MAX_WAITING, MAX_WAITING_BYTES = 256, 4 * 1024 * 1024
#: Frames that a client may send while others of it wait: so many at once, then so many a second.
BURST, RATE = 500.0, 100.0


@dataclass(slots=True)
class Allowance:
    """What one client may still send."""

    frames: float = BURST
    #: Bytes that have come since nothing waited; what was handled of them meanwhile still counts.
    waiting_bytes: int = 0
    #: When `frames` was counted last, in seconds of a clock that only goes forward.
    counted_at: float = 0.0

    def covers(self, size: int, *, waiting: int, now: float) -> bool:
        """Say whether a frame of `size` bytes may come in while `waiting` others wait, and count it."""
        if waiting == 0:
            self.waiting_bytes = 0
        else:
            self.frames = min(BURST, self.frames + (now - self.counted_at) * RATE) - 1
            self.counted_at = now
        self.waiting_bytes += size
        return self.frames >= 0 and waiting < MAX_WAITING and self.waiting_bytes <= MAX_WAITING_BYTES
