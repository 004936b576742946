"""Processor time and memory of processes and their children, by kind.

PostgreSQL has a process for each connection, so the time of ended children counts for their parent. The kernel counts
in steps of 10 ms, so small loads must run long enough.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psutil

#: The running processes of each kind, such as "web".
type Kinds = Mapping[str, Sequence[psutil.Process]]

#: Only its own time counts, because its children are the other kinds.
SUPERVISOR = "supervisor"


def _family(kind: str, main: psutil.Process) -> list[psutil.Process]:
    return [main] if kind == SUPERVISOR else [main, *main.children(recursive=True)]


def cpu(kinds: Kinds) -> dict[str, float]:
    """Return the processor seconds of each kind so far."""
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
    """Return the MiB of each kind; shared pages are divided among their processes (PSS)."""
    taken = dict.fromkeys(kinds, 0.0)
    for kind, mains in kinds.items():
        for main in mains:
            for process in _family(kind, main):
                with suppress(psutil.NoSuchProcess):
                    taken[kind] += process.memory_full_info().pss / 2**20
    return taken


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each kind used in between."""
    return {kind: after[kind] - before.get(kind, 0.0) for kind in after}


def wait_until_calm(kinds: Kinds, *, seconds: float = 15, share: float = 0.15) -> None:
    """Wait until all together use less than this share of a core, at most for these seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = sum(cpu(kinds).values())
        time.sleep(0.5)
        if sum(cpu(kinds).values()) - before < share * 0.5:
            return
