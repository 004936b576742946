"""What processes have used: processor time and memory, by kind, with everything that they have started.

PostgreSQL has a process for each connection, so the time of children that have ended counts with their parent's. The
kernel counts in steps of 10 ms; small loads have to run long enough for that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

#: One kind of process, such as "web", and those of them that run.
type Kinds = Mapping[str, Sequence[psutil.Process]]

#: Only its own time counts: what it has started are the other kinds.
SUPERVISOR = "supervisor"


def _family(kind: str, main: psutil.Process) -> list[psutil.Process]:
    return [main] if kind == SUPERVISOR else [main, *main.children(recursive=True)]


def cpu(kinds: Kinds) -> dict[str, float]:
    """Return the processor seconds that each kind has used so far."""
    used = dict.fromkeys(kinds, 0.0)
    for kind, mains in kinds.items():
        for main in mains:
            for process in _family(kind, main):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    used[kind] += times.user + times.system
                    if kind != SUPERVISOR:
                        used[kind] += times.children_user + times.children_system
    return used


def memory(kinds: Kinds) -> dict[str, float]:
    """Return the MiB that each kind takes; of pages that processes share each counts its part (PSS)."""
    taken = dict.fromkeys(kinds, 0.0)
    for kind, mains in kinds.items():
        for main in mains:
            for process in _family(kind, main):
                with suppress(psutil.NoSuchProcess):
                    taken[kind] += process.memory_full_info().pss / 2**20
    return taken


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each kind has used in between."""
    return {kind: after[kind] - before.get(kind, 0.0) for kind in after}


def settle(kinds: Kinds, *, seconds: float = 15, share: float = 0.15) -> None:
    """Wait until all of them together take less than this share of a core, or for so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = sum(cpu(kinds).values())
        time.sleep(0.5)
        if sum(cpu(kinds).values()) - before < share * 0.5:
            return
