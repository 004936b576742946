"""The chart of a run: delay, processor time, wall time and frames by number of streams."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.figures import Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

mpl.use("Agg")


def draw(results: Results, path: Path) -> None:
    """Write a PNG."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    delay, processor, wall, frames = figure.subplots(2, 2).flat
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
    _plot(processor, floor, [4 * row.cpu_of_all for row in floor], "4 × floor", "k--")
    _lines(wall, "Time until all have finished, divided by the ideal")
    _plot(wall, product, [row.wall for row in product], "service", "C0-o")
    _plot(wall, floor, [row.wall for row in floor], "floor", "C7-s")
    _lines(frames, "Tokens in a frame")
    _plot(frames, product, [row.tokens_per_frame for row in product], "service", "C0-o")
    _plot(frames, floor, [row.tokens_per_frame for row in floor], "floor", "C7-s")
    for axes in (delay, processor, wall, frames):
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
