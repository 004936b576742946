"""Plots as inline SVG: shapes with their places, names and links, which a template writes.

No script, no style and no file from elsewhere: colours are classes of `operations.css`. A plot has at most 30 columns,
each of which is a link to its rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 720, 150
LEFT, BOTTOM, TOP = 52, 22, 8
#: A column leaves this part of its slot empty, on each side.
GAP = 0.12
MAX_LABELS = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """A rectangle, or a dot when it has a radius."""

    kind: str
    x: float
    y: float
    width: float = 0.0
    height: float = 0.0
    radius: float = 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """A slot: a link, named by a sentence, around its shapes."""

    url: str
    name: str
    #: The whole height, so that it can be hit.
    area: Shape
    shapes: Sequence[Shape] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """A text at an axis."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """The points of a line, as SVG writes them."""

    kind: str
    points: str


@dataclass(slots=True)
class Plot:
    """A picture, with a sentence that says what it shows."""

    key: str
    title: str
    summary: str
    #: Classes and names of what it shows, each with the address of the rows, if any.
    legend: list[tuple[str, str, str]]
    columns: list[Column] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    grid: list[Label] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    baseline: int = HEIGHT - BOTTOM
    #: Nothing happened in it.
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """The values of a slot, in the order of the plot's kinds, with its link and the sentence that names it."""

    label: str
    url: str
    name: str
    values: Sequence[float | None]


def nice(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 … from a value on, the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.9999)


def stacked(plot: Plot, slots: Sequence[Slot], kinds: Sequence[str], unit: str) -> Plot:
    """Add columns of values upon each other."""
    top = nice(max((sum(value or 0 for value in slot.values) for slot in slots), default=0))
    _axes(plot, slots, top, unit)
    for number, slot in enumerate(slots):
        area = _area(number, len(slots))
        bottom, shapes = float(plot.baseline), []
        for kind, value in zip(kinds, slot.values, strict=True):
            height = (value or 0) / top * (plot.baseline - TOP)
            if height > 0:
                bottom -= height
                shapes.append(Shape(kind, _inside(area), round(bottom, 1), _breadth(area), round(max(height, 1), 1)))
        plot.columns.append(Column(slot.url, slot.name, area, shapes))
    return plot


def lines(plot: Plot, slots: Sequence[Slot], kinds: Sequence[str], unit: str) -> Plot:
    """Add a line for each kind. It has gaps where a slot has no value, and a dot at each value."""
    top = nice(max((value for slot in slots for value in slot.values if value is not None), default=0))
    _axes(plot, slots, top, unit)
    dots: list[list[Shape]] = [[] for _ in slots]
    for index, kind in enumerate(kinds):
        points: list[str] = []
        for number, slot in enumerate(slots):
            value = slot.values[index]
            if value is None:
                _end_line(plot, kind, points)
                continue
            area = _area(number, len(slots))
            x, y = round(area.x + area.width / 2, 1), round(plot.baseline - value / top * (plot.baseline - TOP), 1)
            points.append(f"{x},{y}")
            dots[number].append(Shape(kind, x, y, radius=2.5))
        _end_line(plot, kind, points)
    plot.columns += [
        Column(slot.url, slot.name, _area(number, len(slots)), dots[number]) for number, slot in enumerate(slots)
    ]
    return plot


def _end_line(plot: Plot, kind: str, points: list[str]) -> None:
    if len(points) > 1:
        plot.lines.append(Line(kind, " ".join(points)))
    points.clear()


def _axes(plot: Plot, slots: Sequence[Slot], top: float, unit: str) -> None:
    plot.is_empty = not any(value for slot in slots for value in slot.values)
    for part in (0.0, 0.5, 1.0):
        y = plot.baseline - part * (plot.baseline - TOP)
        plot.grid.append(Label(LEFT - 6, round(y, 1), f"{top * part:,.4g}{unit}"))
    every = max(math.ceil(len(slots) / MAX_LABELS), 1)
    for number in range(0, len(slots), every):
        area = _area(number, len(slots))
        plot.labels.append(Label(round(area.x + area.width / 2, 1), HEIGHT - 6, slots[number].label))


def _area(number: int, count: int) -> Shape:
    width = (WIDTH - LEFT) / count
    return Shape("slot", round(LEFT + number * width, 1), TOP, round(width, 1), HEIGHT - BOTTOM - TOP)


def _inside(area: Shape) -> float:
    return round(area.x + area.width * GAP, 1)


def _breadth(area: Shape) -> float:
    return round(area.width * (1 - 2 * GAP), 1)
