"""Where the processor time of a load goes: by process, by function (web and worker, py-spy), by statement (PostgreSQL).

`make bench` profiles the load of each goal that it finds missed, and writes what it has seen beside its figures.
py-spy's own files, a line for each stack, open in speedscope.app and in flame graph tools.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import database, processes
from bench.cycles import TOOLS, open_cycles, run_cycles
from bench.load import Work
from bench.processes import Kinds

if TYPE_CHECKING:
    from bench.measurements import Measurements

PROFILED_KINDS = ("web", "worker")
#: Each sample pauses the process for a moment.
SAMPLES_PER_SECOND = 100
#: py-spy needs this long to attach to a process.
ATTACH_SECONDS = 2.0

LINE = re.compile(r":\d+\)$")
FILE = re.compile(r" \((?P<file>[^()]*)\)$")
OURS = re.compile(r"\((codelab|sessions|agents|llm)/(?!__main__)")


def profile(it: Measurements, work: Work, folder: Path) -> str:
    """Run a load under py-spy, whose files go to the folder; return what it shows as text.

    PostgreSQL must count its statements (`bench.database.watch`).
    """
    kinds = it.product.kinds
    with _prepared(it, work) as run:
        processes.wait_until_calm(kinds)
        with _sampled(kinds, folder, Path(work.file).stem) as paths:
            database.forget(it.product)
            before = processes.cpu(kinds)
            run()
            used = processes.difference(before, processes.cpu(kinds))
            statements = database.hottest(it.product)
    stacks = {name: path.read_text() for name, path in paths.items() if path.exists()}
    return described(work, used, stacks, statements)


@contextmanager
def _prepared(it: Measurements, work: Work) -> Iterator[Callable[[], object]]:
    """Open the sockets of a load inside the context, and give what runs it."""
    match work.kind:
        case "streams":
            group = "streams"
            it.open(group, work.count)
            it.talk(group, "warm", tokens=1)
            run: Callable[[], object] = partial(it.talk, group, "profiled", tokens=it.load.tokens)
        case "turns" | "steps":
            group = "cycles"
            open_cycles(it, work.count, work.messages)
            run = partial(run_cycles, it, work.count, tools=TOOLS if work.kind == "steps" else 0)
        case "idle":
            group = "idle"
            it.open(group, work.count)
            run = partial(time.sleep, it.load.idle_seconds)
    yield run
    it.client.ask("close", group=group)


@contextmanager
def _sampled(kinds: Kinds, folder: Path, name: str) -> Iterator[Mapping[str, Path]]:
    """Sample the web and worker processes inside the context; give the file of each, which exists afterwards.

    A file is missing when py-spy may not look into the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    recorders: list[subprocess.Popen[bytes]] = []
    for kind in PROFILED_KINDS:
        for i, process in enumerate(kinds[kind], 1):
            path = paths[f"{kind}-{i}"] = folder / f"{name}-{kind}-{i}.txt"
            path.unlink(missing_ok=True)
            # It samples until it is interrupted, and only the thread with the GIL: waiting threads would look busy.
            command = f"py-spy record --pid {process.pid} --rate {SAMPLES_PER_SECOND} --gil --format raw --duration 600"
            spy = [str(Path(sys.executable).parent / "py-spy"), *command.split()[1:], "--output", str(path)]
            recorders.append(subprocess.Popen(spy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        time.sleep(ATTACH_SECONDS)
        yield paths
    finally:
        for recorder in recorders:
            recorder.send_signal(signal.SIGINT)
            recorder.wait(60)


def described(work: Work, used: Mapping[str, float], stacks: Mapping[str, str], statements: Sequence[str]) -> str:
    """Return the text of a profile: processor time by kind of process, stacks of those sampled, and statements."""
    total = max(sum(used.values()), 0.01)
    lines = [
        f"{work.title}: {total:.1f} s of a core while py-spy looked on, which takes some time of its own",
        *(f"{100 * seconds / total:5.1f} %  {kind}" for kind, seconds in sorted(used.items(), key=lambda it: -it[1])),
    ]
    for name, text in stacks.items():
        samples = sum(count for _, count in _parsed(text))
        lines += [
            "",
            f"{name}: {samples / SAMPLES_PER_SECOND:.1f} s with the interpreter's lock",
            *packages(text),
            "",
            "  alone   with called",
            *hottest(text),
            "",
            "our own, with what they have called",
            *our_hottest(text),
        ]
    if not stacks:
        lines += ["", "py-spy could not look into web and worker: it needs root, or `ptrace_scope` 0."]
    lines += ["", "PostgreSQL: milliseconds of all calls, calls, KiB of WAL", *statements]
    return "\n".join(lines) + "\n"


def packages(stacks: str, count: int = 12) -> list[str]:
    """Return a line for each package whose own code was running most often. Modules without one are Python's."""
    own: Counter[str] = Counter()
    for frames, samples in _parsed(stacks):
        found = FILE.search(frames[-1])
        file = found["file"] if found else ""
        own[file.partition("/")[0] if "/" in file else "python"] += samples
    return _shares(own.most_common(count), own.total())


def hottest(stacks: str, count: int = 20) -> list[str]:
    """Return a line for each of the hottest functions: its samples without and with called functions."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for frames, samples in _parsed(stacks):
        own[frames[-1]] += samples
        within.update(dict.fromkeys(frames, samples))
    total = max(own.total(), 1)
    return [
        f"{100 * samples / total:5.1f} %  {100 * within[name] / total:5.1f} %  {name}"
        for name, samples in own.most_common(count)
    ]


def our_hottest(stacks: str, count: int = 20) -> list[str]:
    """Return a line for each of our functions that were running most often, with what they have called."""
    within: Counter[str] = Counter()
    total = 0
    for frames, samples in _parsed(stacks):
        within.update(dict.fromkeys((frame for frame in frames if OURS.search(frame)), samples))
        total += samples
    return _shares(within.most_common(count), total)


def _parsed(stacks: str) -> Iterator[tuple[list[str], int]]:
    """Yield the functions of each stack, and its samples. Without line numbers, so that a function counts once."""
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        yield [LINE.sub(")", frame) for frame in stack.split(";")], int(samples)


def _shares(counts: Iterable[tuple[str, int]], total: int) -> list[str]:
    return [f"{100 * samples / max(total, 1):5.1f} %  {name}" for name, samples in counts]
