"""A neighbour: a process of its own that reads a stream of 20 tokens a second and measures the gaps between them.

It is a process because a test that attacks the service is busy itself, and must not be what makes the gap.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.live.service import PROJECT, Service

#: The longest that a neighbour may see nothing. `make neighbours` measures alone on the machine, and asks for half a
#: second. Where five processes of tests share two cores, the machine itself makes gaps of a second; what these tests
#: are about makes gaps of many seconds.
IS_ALONE = "NEIGHBOUR_MAX_GAP_SECONDS" in os.environ
MAX_GAP_SECONDS = float(os.environ["NEIGHBOUR_MAX_GAP_SECONDS"]) if IS_ALONE else 3.0
#: For the scripted model. Five minutes, longer than any attack lasts on a busy machine.
MESSAGE = "/tokens 6000 20"
#: The same for `tests.live.provider`.
PROVIDER_MESSAGE = "tokens=6000 rate=20"

_numbers = itertools.count(1)


@dataclass(slots=True)
class Stream:
    """What the neighbour saw, once it has left."""

    key: str
    worst_gap_seconds: float = 0.0
    frames: int = 0


@contextmanager
def neighbour(
    service: Service, *, message: str = MESSAGE, max_gap_seconds: float = MAX_GAP_SECONDS, url: str = ""
) -> Iterator[Stream]:
    """Let a neighbour stream while the block runs; then check that nothing happened to it.

    Its stream had no long gap, and its turn is still in its first attempt, so no worker has lost its lease.
    """
    stream = Stream(key=f"neighbour-{next(_numbers)}")
    address = f"{(url or service.url).replace('http', 'ws', 1)}/ws/{stream.key}"
    command = [sys.executable, "-m", "tests.neighbours.reader", address, message]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline(), "the neighbour's stream did not begin"
            yield stream
            process.stdin.close()
            found = json.loads(process.stdout.readline())
        finally:
            process.kill()
    stream.worst_gap_seconds, stream.frames = found["worst_gap_seconds"], found["frames"]
    attempts = service.rows(
        "SELECT attempt FROM agent_sessions_turn JOIN agent_sessions_session s ON s.id = session_id WHERE key = %s",
        stream.key,
    )
    assert attempts == [(1,)], "another worker has taken the neighbour's turn"
    assert stream.worst_gap_seconds <= max_gap_seconds, stream
