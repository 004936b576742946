"""The process of a neighbour (`tests.neighbours.stream`): reads a stream and measures the gaps between its frames."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import IO

from websockets.sync.client import connect


def read(address: str, message: str) -> None:
    """Read the stream until the standard input ends, then print what was seen."""
    frames, worst = 0, 0.0
    with connect(address, proxy=None, max_size=None, open_timeout=30) as socket:
        leaving = Thread(target=_wait_for_end, args=(sys.stdin,), daemon=True)
        leaving.start()
        socket.send(json.dumps({"type": "user_message", "content": message}))
        last = time.monotonic()
        while leaving.is_alive():
            with suppress(TimeoutError):
                frame = json.loads(socket.recv(timeout=0.1))
                if frame["type"] == "assistant_message":
                    assert not frame.get("is_final"), "the stream must outlast the attack"
                    frames += 1
                    if frames > 1:
                        worst = max(worst, time.monotonic() - last)
                    last = time.monotonic()
                    if frames == 3:
                        print("streaming", flush=True)
        worst = max(worst, time.monotonic() - last)
        print(json.dumps({"worst_gap_seconds": round(worst, 3), "frames": frames}), flush=True)
        socket.send(json.dumps({"type": "cancel"}))


def _wait_for_end(stream: IO[str]) -> None:
    stream.read()


if __name__ == "__main__":
    read(*sys.argv[1:])
