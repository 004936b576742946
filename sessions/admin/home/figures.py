"""The figures of the home. Each is one statement over a bounded number of rows that an index finds.

A window with more rows than MAX_ROWS is counted from its newest ones, and the page says so. Nothing here writes.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sessions.admin.home.window import Window, first_id
from sessions.database import rows

#: Turns, and model calls, that one page adds up.
MAX_ROWS = 50_000
#: Rows of the table of failures, and of each table of costs.
MAX_FAILURES, MAX_GROUPS = 12, 12

#: The slot of a row, by the time in its id (milliseconds in the first 48 bits).
_SLOT = "((('x' || left(replace({}::text, '-', ''), 12))::bit(48)::bigint - %s) / %s)::integer"
_PERCENTILES = "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM {}))"
_TURNS = f"""
    WITH newest AS MATERIALIZED (
        SELECT {_SLOT.format("id")} AS slot, status, first_token_at - created_at AS first_token,
        CASE WHEN status = 'completed' THEN finished_at - created_at END AS duration
        FROM agent_sessions_turn WHERE id >= %s ORDER BY id DESC LIMIT %s
    )
    SELECT slot, count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
        count(*) FILTER (WHERE status = 'cancelled'),
        count(*) FILTER (WHERE status NOT IN ('completed', 'failed', 'cancelled')),
        {_PERCENTILES.format("first_token")} FILTER (WHERE first_token IS NOT NULL),
        {_PERCENTILES.format("duration")} FILTER (WHERE duration IS NOT NULL)
    FROM newest GROUP BY GROUPING SETS ((slot), ())
"""
_FAILURES = """
    WITH newest AS MATERIALIZED (
        SELECT id, error_code FROM agent_sessions_turn WHERE status = 'failed' AND id >= %s ORDER BY id DESC LIMIT %s
    ), counted AS (
        SELECT error_code, count(*) AS count, (array_agg(id ORDER BY id DESC))[1] AS id FROM newest
        GROUP BY error_code ORDER BY count DESC, error_code LIMIT %s
    )
    SELECT counted.error_code, counted.count, turn.id, turn.created_at, turn.error
    FROM counted JOIN agent_sessions_turn AS turn USING (id) ORDER BY counted.count DESC, counted.error_code
"""
#: By slot, model, agent and user, and all together.
_CALLS = f"""
    WITH newest AS MATERIALIZED (
        SELECT {_SLOT.format("id")} AS slot, model, agent, owner_id, outcome, input_tokens, output_tokens,
            cached_tokens, cost, own_key
        FROM agent_sessions_modelcall WHERE id >= %s ORDER BY id DESC LIMIT %s
    )
    SELECT grouping(slot, model, agent, owner_id), slot, model, agent, owner_id,
        count(*), count(*) FILTER (WHERE outcome = 'failed'),
        sum(input_tokens), sum(output_tokens), sum(cached_tokens),
        coalesce(sum(cost) FILTER (WHERE NOT own_key), 0), coalesce(sum(cost) FILTER (WHERE own_key), 0),
        count(*) FILTER (WHERE cost IS NULL)
    FROM newest GROUP BY GROUPING SETS ((slot), (model), (agent), (owner_id), ())
"""
#: Apart: each way to add up would sort all rows again.
_CALL_TIMES = f"""
    WITH newest AS MATERIALIZED (
        SELECT model, first_token_after, duration
        FROM agent_sessions_modelcall WHERE id >= %s ORDER BY id DESC LIMIT %s
    )
    SELECT model, {_PERCENTILES.format("first_token_after")}, {_PERCENTILES.format("duration")}
    FROM newest GROUP BY model
"""
#: The values of `grouping` in that order: a bit is set for a column that does not group.
_BY_SLOT, _BY_MODEL, _BY_AGENT, _BY_OWNER, _ALL = 0b0111, 0b1011, 0b1101, 0b1110, 0b1111

type Percentiles = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """Turns of a slot, or of the whole window."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0
    #: Seconds from a message to the first token of its answer, and to its end; 50 % and 95 % of turns are faster.
    first_token: Percentiles = None
    duration: Percentiles = None

    @property
    def count(self) -> int:
        """All of them."""
        return self.completed + self.failed + self.cancelled + self.open


@dataclass(frozen=True, slots=True)
class Failure:
    """A reason why turns failed, with the newest of them."""

    code: str
    count: int
    turn_id: Any
    failed_at: datetime
    sentence: str


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Model calls of a day, a model, an agent, a user, or all."""

    key: Any
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    #: US dollars; those of users' own keys are theirs.
    cost: Decimal
    own_cost: Decimal
    unpriced: int
    first_token: Percentiles = None
    duration: Percentiles = None


def together(key: Any, parts: list[CallFigures]) -> CallFigures:
    """Return the sums of some figures. Percentiles cannot be added."""
    names = ("calls", "failed", "input_tokens", "output_tokens", "cached_tokens", "cost", "own_cost", "unpriced")
    return CallFigures(key, **{name: sum((getattr(part, name) for part in parts), start=0) for name in names})


@dataclass(slots=True)
class Usage:
    """Model calls of a window, added up in four ways."""

    slots: dict[int, CallFigures] = field(default_factory=dict)
    models: list[CallFigures] = field(default_factory=list)
    agents: list[CallFigures] = field(default_factory=list)
    owners: list[CallFigures] = field(default_factory=list)
    all: CallFigures | None = None


def turns_in(window: Window) -> tuple[dict[int, TurnFigures], TurnFigures]:
    """Return the turns of each slot that has some, and of the whole window."""
    found = rows(_TURNS, *_bounds(window), first_id(window.start), MAX_ROWS)
    slots = {slot: TurnFigures(*counts[:4], *map(_pair, counts[4:])) for slot, *counts in found}
    return slots, slots.pop(None, None) or TurnFigures()


def failures_in(window: Window) -> list[Failure]:
    """Return the reasons of the window's failures, the most frequent first."""
    return [Failure(*row) for row in rows(_FAILURES, first_id(window.start), MAX_ROWS, MAX_FAILURES)]


def usage_in(window: Window) -> Usage:
    """Return what the model calls of the window used."""
    usage, first = Usage(), first_id(window.start)
    times = {model: (_pair(token), _pair(whole)) for model, token, whole in rows(_CALL_TIMES, first, MAX_ROWS)}
    for grouping, slot, model, agent, owner, *sums in rows(_CALLS, *_bounds(window), first, MAX_ROWS):
        keys = {_BY_SLOT: slot, _BY_MODEL: model, _BY_AGENT: agent, _BY_OWNER: owner, _ALL: None}
        numbers: list[Any] = [value or 0 for value in sums]
        figures = CallFigures(keys[grouping], *numbers)
        if grouping == _BY_MODEL:
            # Absent when it was called between the two statements.
            token, whole = times.get(model, (None, None))
            figures = replace(figures, first_token=token, duration=whole)
        if grouping == _BY_SLOT:
            usage.slots[slot] = figures
        elif grouping == _ALL:
            usage.all = figures
        else:
            {_BY_MODEL: usage.models, _BY_AGENT: usage.agents, _BY_OWNER: usage.owners}[grouping].append(figures)
    for groups in (usage.models, usage.agents, usage.owners):
        groups.sort(key=lambda each: (each.cost, each.input_tokens + each.output_tokens), reverse=True)
        del groups[MAX_GROUPS:]
    return usage


def _bounds(window: Window) -> tuple[int, int]:
    """Return the beginning of the window and the length of its slots, in milliseconds."""
    return int(window.start.timestamp() * 1000), window.slot // timedelta(milliseconds=1)


def _pair(values: Any) -> Percentiles:
    # A clock may have gone back between two readings.
    return (max(values[0], 0.0), max(values[1], 0.0)) if values and values[0] is not None else None
