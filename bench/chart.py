"""The chart of a run: delay, processor time, wall time and frames of streams; processor time of turns and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.cycles import Cycle, step_cpu
from bench.figures import Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

mpl.use("Agg")

#: The goal of a turn, and of a step (`bench.goals`).
GOAL_MILLISECONDS = 10


def draw(results: Results, path: Path) -> None:
    """Write a PNG."""
    figure = Figure(figsize=(12, 12), layout="constrained")
    delay, processor, wall, frames, turns, steps = figure.subplots(3, 2).flat
    product, floor = results.product, results.floor
    machine = results.machine
    figure.suptitle(
        f"{results.arguments['tokens']} tokens at {results.arguments['rate']}/s for each stream, on {machine['cpus']} ×"
        f" {machine['cpu']} shared by provider, service and client"
    )
    _lines(delay, "Milliseconds added to a token", "log")
    _plot(delay, product, [row.added_p50 for row in product], "p50", "C0-o")
    _plot(delay, product, [row.added_p99 for row in product], "p99", "C0--o")
    _plot(delay, floor, [row.added_p50 for row in floor], "floor p50", "C7-s")
    _plot(delay, floor, [row.added_p99 for row in floor], "floor p99", "C7--s")
    _lines(processor, "Microseconds of processor time for each token")
    _stacked(processor, product)
    _plot(processor, floor, [row.cpu_of_all for row in floor], "floor's relay", "k-s")
    _plot(processor, floor, [3 * row.cpu_of_all for row in floor], "3 × floor", "k--")
    _lines(wall, "Time until all have finished, divided by the ideal")
    _plot(wall, product, [row.wall for row in product], "service", "C0-o")
    _plot(wall, floor, [row.wall for row in floor], "floor", "C7-s")
    _lines(frames, "Tokens in a frame")
    _plot(frames, product, [row.tokens_per_frame for row in product], "service", "C0-o")
    _plot(frames, floor, [row.tokens_per_frame for row in floor], "floor", "C7-s")
    _bars(turns, "Milliseconds of processor time for a turn of one token", [(it, it.cpu) for it in results.turns])
    costs = [(it, step_cpu(it, results.turns)) for it in results.steps]
    _bars(steps, "Milliseconds of processor time for a tool step", costs)
    for axes in (delay, processor, wall, frames, turns, steps):
        if axes.has_data():
            axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _lines(axes: Axes, title: str, scale: str = "linear") -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("streams")
    axes.set_yscale(scale)
    axes.grid(visible=True, alpha=0.3)


def _plot(axes: Axes, rows: list[Row], values: list[float], label: str, style: str) -> None:
    if rows:
        axes.plot([row.streams for row in rows], values, style, label=label, markersize=4)


def _stacked(axes: Axes, rows: list[Row]) -> None:
    if rows:
        kinds = list(rows[0].cpu)
        shares = [[row.cpu[kind] for row in rows] for kind in kinds]
        axes.stackplot([row.streams for row in rows], *shares, labels=kinds, alpha=0.7)


def _bars(axes: Axes, title: str, costs: Sequence[tuple[Cycle, Mapping[str, float]]]) -> None:
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("at once (below: how many a second)")
    axes.axhline(GOAL_MILLISECONDS, color="k", linestyle="--", label="goal at 16")
    names = [_name(cycle) for cycle, _ in costs]
    below = [0.0] * len(costs)
    for kind in dict.fromkeys(kind for _, cost in costs for kind in cost):
        heights = [max(cost.get(kind, 0.0), 0.0) for _, cost in costs]
        axes.bar(names, heights, bottom=below, label=kind, alpha=0.7)
        below = [low + height for low, height in zip(below, heights, strict=True)]


def _name(cycle: Cycle) -> str:
    load = f"{cycle.sessions}" + (f", {cycle.messages} messages" if cycle.messages else "")
    return f"{load}\n{cycle.turns * max(cycle.tools, 1) / cycle.seconds:.0f}"
