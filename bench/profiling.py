"""Profiles web and worker with py-spy while streams run, and lists the hottest functions.

Its files, a line for each stack, open in speedscope.app and in flame graph tools.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import Kinds

PROFILED_KINDS = ("web", "worker")
#: Each sample pauses the process for a moment.
SAMPLES_PER_SECOND = 100
#: py-spy needs this long to attach to a process.
ATTACH_SECONDS = 2.0

LINE = re.compile(r":\d+\)$")


@contextmanager
def profiled(kinds: Kinds, folder: Path, name: str) -> Iterator[list[Path]]:
    """Sample the web and worker processes inside the context; the files exist afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    recorders: list[subprocess.Popen[bytes]] = []
    for kind in PROFILED_KINDS:
        for i, process in enumerate(kinds[kind], 1):
            path = folder / f"{name}-{kind}-{i}.txt"
            # It samples until it is interrupted, and only the thread with the GIL: waiting threads would look busy.
            command = f"py-spy record --pid {process.pid} --rate {SAMPLES_PER_SECOND} --gil --format raw --duration 600"
            spy = [str(Path(sys.executable).parent / "py-spy"), *command.split()[1:], "--output", str(path)]
            recorders.append(subprocess.Popen(spy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            paths.append(path)
    try:
        time.sleep(ATTACH_SECONDS)
        yield paths
    finally:
        for recorder in recorders:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(60)


def hottest(stacks: str, count: int = 20) -> list[str]:
    """Return a line for each of the hottest functions: its samples without and with called functions."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        # Without line numbers, so that a function counts once.
        frames = [LINE.sub(")", frame) for frame in stack.split(";")]
        own[frames[-1]] += int(samples)
        within.update(dict.fromkeys(frames, int(samples)))
    total = max(sum(own.values()), 1)
    return [
        f"{100 * samples / total:5.1f} %  {100 * within[name] / total:5.1f} %  {name}"
        for name, samples in own.most_common(count)
    ]
