"""One run from start to verdict: a stack, a crowd, a nemesis, a quiet period, and the final state."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import checker, dump
from tests.chaos.clients import World
from tests.chaos.crowd import Crowd
from tests.chaos.history import History, Record
from tests.chaos.nemesis import Nemesis
from tests.chaos.proxy import often
from tests.chaos.stack import Stack, running
from tests.chaos.violations import Violation

#: Seconds after the last fault within which every turn has to end, and what that and the reading usually take.
SETTLE, END_SECONDS = 60.0, 25.0


@dataclass(frozen=True)
class Volumes:
    """What has to happen before a run may end."""

    faults: int = 300
    reconnects: int = 2000
    edges: int = 100
    takeovers: int = 50


@dataclass
class Outcome:
    """Everything that a report needs."""

    seed: int
    seconds: float
    volumes: Volumes | None
    records: list[Record]
    violations: list[Violation]
    data: dump.Dump
    requests: list[Record]
    nemesis: Nemesis
    writes_refused: int


async def run(
    folder: Path,
    *,
    seed: int,
    size: int = 24,
    volumes: Volumes | None = None,
    pace: float = 1,
    at_least: float = 0,
    at_most: float = float("inf"),
    fill: Callable[[str], None] | None = None,
    say: Callable[[str], object] = str,
) -> Outcome:
    """Run until the volumes are reached, for `at_least` and `at_most` seconds, with the start and the end of the run.

    Without volumes only the time counts. `folder` exists and is empty; the run writes its records there. A pace below 1
    leaves less time between two faults. `fill` is that of `tests.chaos.stack.running`.
    """
    history = History(folder / "history.jsonl")
    started = time.monotonic()
    # Separate random numbers: which client reconnects first must not change what the nemesis does.
    clients, blows, cuts = (random.Random(f"{seed}/{name}") for name in ("clients", "blows", "cuts"))
    async with running(folder, history, cuts=often(cuts, 500, 60_000), fill=fill) as stack:
        say("everything is up")
        world = World(history, [link.port for link in stack.web_links], stack.tool_log, clients)
        crowd, nemesis = Crowd(world, size), Nemesis(stack, world, blows, pace=pace)
        talking = asyncio.create_task(crowd.run())
        await asyncio.sleep(3)
        harming = asyncio.create_task(nemesis.run())
        progress = Progress(history.records, nemesis, volumes)
        while (passed := time.monotonic() - started) < at_most - END_SECONDS:
            if passed >= at_least - END_SECONDS and progress.reached():
                break
            await asyncio.wait([talking, harming], timeout=min(15.0, at_most / 60))
            for task in (talking, harming):
                if task.done():
                    task.result()
            say(f"{passed:5.0f} s  {progress}")
        nemesis.rest()
        await harming
        history.add("quiet")
        say("the last fault is over; waiting for the turns to end")
        crowd.leave()
        with suppress(TimeoutError):
            await asyncio.wait_for(talking, SETTLE)
        await _stop_writers(stack)
        history.close()
        data = await dump.read(stack, [*crowd.sessions, *nemesis.sessions])
        data.save(folder / "dump.json")
        refused = await stack.metric("stale_writes_refused_total")
    requests = lines_of(stack.provider_log)
    violations = checker.check(history.records, data, lines_of(stack.tool_log), requests)
    seconds = time.monotonic() - started
    return Outcome(seed, seconds, volumes, history.records, violations, data, requests, nemesis, refused)


async def _stop_writers(stack: Stack) -> None:
    """Stop everything but one web process, so that the data does not change while it is read."""
    for process in [*stack.of_kind("beat"), *stack.of_kind("worker"), *stack.of_kind("web")[1:]]:
        await process.stop()


def progress_of(outcome: Outcome) -> Progress:
    """Return the progress of a finished run."""
    return Progress(outcome.records, outcome.nemesis, outcome.volumes)


def lines_of(path: Path) -> list[Record]:
    """Read a file of JSON lines; return nothing if it does not exist."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Progress:
    """The progress of a run."""

    def __init__(self, records: list[Record], nemesis: Nemesis, volumes: Volumes | None) -> None:
        self.records, self.nemesis, self.volumes = records, nemesis, volumes or Volumes()
        self.is_endless = volumes is None
        self._read, self._counts = 0, {"opened": 0, "acked": 0}
        self._followers: set[str] = set()

    def figures(self) -> dict[str, tuple[int, int]]:
        """Return each count and its goal."""
        records = self.records
        for record in records[self._read :]:
            if record["what"] in self._counts:
                self._counts[record["what"]] += 1
            if record["what"] == "opened":
                self._followers.add(record["follower"])
        self._read = len(records)
        return {
            "faults": (self.nemesis.faults.total(), self.volumes.faults),
            "reconnects": (self._counts["opened"] - len(self._followers), self.volumes.reconnects),
            "edges": (self.nemesis.edges.total(), self.volumes.edges),
            "takeovers": (self.nemesis.takeovers, self.volumes.takeovers),
        }

    def reached(self) -> bool:
        """Return whether every count has reached its goal, if there are goals."""
        return not self.is_endless and all(had >= wanted for had, wanted in self.figures().values())

    def __str__(self) -> str:
        figures = "  ".join(f"{name} {had}/{wanted}" for name, (had, wanted) in self.figures().items())
        return f"{figures}  accepted {self._counts['acked']}"
