"""The table at the end of a run: results, goals and the verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.chaos.campaign import Outcome, progress_of
from tests.chaos.edges import all_edges
from tests.chaos.figures import Sample, measure, percentile
from tests.chaos.violations import KINDS


@dataclass(frozen=True)
class Row:
    """A line of the table. `holds` is False for a broken promise, and None for information."""

    name: str
    value: str
    goal: str = ""
    holds: bool | None = None
    #: A missed goal of time or volume is reported, but does not fail the run.
    promise: bool = False


def rows(outcome: Outcome) -> list[Row]:
    """Return the lines of the table."""
    volumes = outcome.volumes is not None
    found = Counter(violation.kind for violation in outcome.violations)
    figures = measure(outcome.records)
    what = Counter(record["what"] for record in outcome.records)
    turns = Counter(f"{t['status']} {t['error_code']}".strip() for t in outcome.data.turns)
    had = progress_of(outcome).figures()

    def volume(name: str, text: str) -> Row:
        count, wanted = had[name]
        return Row(text, str(count), f">= {wanted}" if volumes else "", count >= wanted if volumes else None)

    def zero(*kinds: str) -> list[Row]:
        return [Row(KINDS[kind], str(found[kind]), "0", not found[kind], promise=True) for kind in kinds]

    unreached = [edge for edge in all_edges() if not outcome.nemesis.edges[edge]]
    asked = Counter((request["turn"], request["step"]) for request in outcome.requests)
    return [
        volume("faults", "faults injected"),
        *(Row(f"  {kind}", str(count)) for kind, count in sorted(outcome.nemesis.faults.items()) if count),
        Row("messages accepted", str(len({r["id"] for r in outcome.records if r["what"] == "acked"}))),
        *(Row(f"  {status}", str(count)) for status, count in sorted(turns.items())),
        *zero("lost", "doubled", "open", "ends", "crashed"),
        volume("reconnects", "reconnects of clients"),
        Row("events received", str(what["received"])),
        *zero("gap", "repeated", "reordered", "different", "text", "stored", "after_end"),
        volume("edges", "kills at the journal's edges"),
        Row("edges never reached", str(len(unreached)), "0" if volumes else "", not unreached if volumes else None),
        Row("tool calls run", str(what["tool"])),
        *zero("tool", "retried", "early"),
        Row("model calls, and those begun again after a fault", f"{asked.total()}, {asked.total() - len(asked)}"),
        volume("takeovers", "turns taken over from frozen workers"),
        *zero("stale"),
        Row("stale writes refused", str(outcome.writes_refused)),
        *times("worker killed: until the next attempt", figures.worker, 0.95, 3),
        *times("Redis back: until the next event", figures.redis, 0.95, 5),
        *times("PostgreSQL back: until the next event", figures.postgres, 0.95, 10),
        *times("stop asked for: until it is told", figures.cancel, 0.99, 1, also_together=True),
        *times("turn without a good end: until it ends", figures.hopeless, 0.95, 10)[:1],
        *times("gap in a stream, without a kill or an outage", figures.gaps, 1, 1)[:1],
    ]


def times(name: str, samples: list[Sample], share: float, goal: float, *, also_together: bool = False) -> list[Row]:
    """Return a line for single faults, to which the goal applies, and one for faults on top of each other."""
    parts = [sample for sample in samples if sample.alone], [sample for sample in samples if not sample.alone]
    wanted = f"p{share * 100:.0f} <= {goal} s" if share < 1 else f"max <= {goal} s"
    holds = [percentile(part, share) <= goal if part else None for part in parts]
    return [
        Row(name, _seconds(parts[0], share), wanted, holds[0]),
        Row(
            "  with other faults on top",
            _seconds(parts[1], share),
            wanted if also_together else "",
            holds[1] if also_together else None,
        ),
    ]


def _seconds(samples: list[Sample], share: float) -> str:
    if not samples:
        return "none"
    at = [percentile(samples, part) for part in (0.5, share, 1)]
    middle = f"  p{share * 100:.0f} {at[1]:.2f}" if share < 1 else ""
    return f"p50 {at[0]:.2f}{middle}  max {at[2]:.2f}  ({len(samples)})"


def table(lines: list[Row]) -> str:
    """Return the lines as text for a terminal."""
    verdicts = {True: "ok", False: "MISSED", None: ""}
    cells = [(row.name, row.value, row.goal) for row in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        f"{row.name:{widths[0]}}  {row.value:>{widths[1]}}  {row.goal:>{widths[2]}}  {verdicts[row.holds]}".rstrip()
        for row in lines
    )
