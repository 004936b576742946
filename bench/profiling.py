"""Where the time goes: py-spy watches web and worker while streams run, and the hottest functions are printed.

What it writes, a line for each stack, opens in speedscope.app and makes flame graphs.
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

WATCHED = ("web", "worker")
#: Samples a second; for each one the process is held up for a moment.
RATE = 100
#: Seconds until it has found its way around in a process.
READY = 2.0

LINE = re.compile(r":\d+\)$")


@contextmanager
def profiled(kinds: Kinds, folder: Path, name: str) -> Iterator[list[Path]]:
    """Sample the web and worker processes while the block runs; the files are there afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    recorders: list[subprocess.Popen[bytes]] = []
    for kind in WATCHED:
        for i, process in enumerate(kinds[kind], 1):
            path = folder / f"{name}-{kind}-{i}.txt"
            # It samples until it is told to end, and only who holds the GIL: threads that wait would look busy.
            command = f"py-spy record --pid {process.pid} --rate {RATE} --gil --format raw --duration 600"
            spy = [str(Path(sys.executable).parent / "py-spy"), *command.split()[1:], "--output", str(path)]
            recorders.append(subprocess.Popen(spy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            paths.append(path)
    try:
        time.sleep(READY)
        yield paths
    finally:
        for recorder in recorders:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(60)


def hottest(stacks: str, count: int = 20) -> list[str]:
    """Return lines for the functions in which most samples were taken, with those they have called and without."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        # Without the numbers of the lines: a function counts once.
        frames = [LINE.sub(")", frame) for frame in stack.split(";")]
        own[frames[-1]] += int(samples)
        within.update(dict.fromkeys(frames, int(samples)))
    total = max(sum(own.values()), 1)
    return [
        f"{100 * samples / total:5.1f} %  {100 * within[name] / total:5.1f} %  {name}"
        for name, samples in own.most_common(count)
    ]
