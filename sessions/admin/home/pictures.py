"""The plots of the home, from its figures. Each column is a link to the rows that it counts."""

from datetime import datetime, timedelta

from sessions.admin.display import format_timedelta
from sessions.admin.home import plots
from sessions.admin.home.figures import Percentiles, TurnFigures, Usage
from sessions.admin.home.plots import Plot, Slot
from sessions.admin.home.window import Window, rows_url

#: In the order of the columns, from below.
OUTCOMES = ("completed", "cancelled", "failed", "open")
SPANS = {"hour": "5 minutes", "day": "hour", "week": "6 hours", "month": "day"}


def of_turns(window: Window, slots: dict[int, TurnFigures], total: TurnFigures) -> list[Plot]:
    """Return the plots of outcomes, first tokens and durations."""
    return [
        _outcomes(window, slots, total),
        *(_times(window, slots, total, name) for name in ("first_token", "duration")),
    ]


def _outcomes(window: Window, slots: dict[int, TurnFigures], total: TurnFigures) -> Plot:
    parts = []
    for number, (start, end) in enumerate(window.slots()):
        values = [getattr(slots.get(number, TurnFigures()), outcome) for outcome in OUTCOMES]
        text = ", ".join(f"{value} {outcome}" for value, outcome in zip(values, OUTCOMES, strict=True) if value)
        name = f"{_span(start, end)}: {text or 'no turns'}"
        parts.append(Slot(_label(window, start), rows_url("turn", start, end), name, values))
    counts = ", ".join(f"{getattr(total, outcome)} {outcome}" for outcome in OUTCOMES)
    plot = Plot(
        key="outcomes",
        title=f"Turns per {SPANS[window.name]}, by outcome",
        summary=f"{total.count} turns: {counts}.",
        legend=[
            (outcome, f"{outcome} {getattr(total, outcome)}", _outcome_url(window, outcome)) for outcome in OUTCOMES
        ],
    )
    return plots.stacked(plot, parts, OUTCOMES, "")


def _outcome_url(window: Window, outcome: str) -> str:
    if outcome == "open":
        return rows_url("turn", window.start, window.end, open="1")
    return rows_url("turn", window.start, window.end, status__exact=outcome)


def _times(window: Window, slots: dict[int, TurnFigures], total: TurnFigures, field: str) -> Plot:
    titles = {"first_token": "Seconds to the first token", "duration": "Seconds to the whole answer"}
    parts = []
    for number, (start, end) in enumerate(window.slots()):
        pair: Percentiles = getattr(slots.get(number, TurnFigures()), field)
        url = rows_url("turn", start, end, slowest=field)
        parts.append(Slot(_label(window, start), url, f"{_span(start, end)}: {_say(pair)}", pair or (None, None)))
    whole: Percentiles = getattr(total, field)
    url = rows_url("turn", window.start, window.end, slowest=field)
    plot = Plot(
        key=field.replace("_", "-"),
        title=f"{titles[field]}, 50 % and 95 % of turns",
        summary=f"In all: {_say(whole)}.",
        legend=[("p50", "50 % are faster", ""), ("p95", "95 % are faster", url)],
    )
    return plots.lines(plot, parts, ("p50", "p95"), " s")


def of_costs(window: Window, usage: Usage) -> Plot:
    """Return the plot of what model calls cost."""
    parts = []
    for number, (start, end) in enumerate(window.slots()):
        figures = usage.slots.get(number)
        cost = float(figures.cost) if figures else 0.0
        text = f"{figures.calls} calls, {cost:.4f} US dollars" if figures else "no calls"
        name = f"{_span(start, end)}: {text}"
        parts.append(Slot(_label(window, start), rows_url("modelcall", start, end), name, [cost]))
    total = float(usage.all.cost) if usage.all else 0.0
    plot = Plot(
        key="costs",
        title=f"US dollars per {SPANS[window.name]}",
        summary=f"{total:.4f} US dollars in all.",
        legend=[("cost", "cost of model calls", rows_url("modelcall", window.start, window.end))],
    )
    return plots.stacked(plot, parts, ("cost",), " $")


def _say(pair: Percentiles) -> str:
    if pair is None:
        return "no figures"
    return " / ".join(format_timedelta(_seconds(value)) for value in pair) + " (50 % / 95 %)"


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def _label(window: Window, start: datetime) -> str:
    return f"{start:%m-%d}" if window.name in ("week", "month") else f"{start:%H:%M}"


def _span(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"
