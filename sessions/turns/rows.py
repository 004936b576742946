"""The rows that the verbs of every turn read, in one statement each.

Callers that change something have locked the session: PostgreSQL reads the rows after it has the lock, so each is a
statement of its own.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sessions.models import Session, SubTask, ToolCall, Turn
from sessions.statements import columns, prepared, row_of, width

_TURN, _SUBTASK, _SESSION = columns(Turn, "turn"), columns(SubTask, "subtask"), columns(Session, "session")
#: Joins the sub-task in progress of the plan of a session, if there is one.
_WITH_SUBTASK = """
    LEFT JOIN (
        agent_sessions_plan AS plan JOIN agent_sessions_subtask AS subtask
        ON subtask.plan_id = plan.id AND subtask.status = 'in_progress'
    ) ON plan.status = 'in_progress' AND plan.session_id =
"""
#: The first turn of a session that has not ended, its sub-task, its budgets, and the providers that its user has keys
#: for.
_NEXT_TURN = f"""
    SELECT {_TURN}, {_SUBTASK}, ARRAY(
        SELECT id FROM agent_sessions_budget
        WHERE owner_id = %s OR session_id = turn.session_id OR api_key = turn.api_key ORDER BY id
    ), ARRAY(SELECT provider FROM agent_sessions_providerkey WHERE owner_id = %s)
    FROM agent_sessions_turn AS turn {_WITH_SUBTASK} turn.session_id
    WHERE turn.session_id = %s AND turn.status IN ('queued', 'running', 'waiting') ORDER BY turn.position LIMIT 1
"""
#: A turn, the sub-task that it carries out, the turn that is next, and what its model calls have used. A call without
#: tokens costs nothing, unless it was lost or stopped.
_TURN_WITH_USE = f"""
    SELECT {_TURN}, {_SUBTASK}, (
        SELECT id FROM agent_sessions_turn AS next WHERE next.session_id = turn.session_id AND next.status = 'queued'
        AND next.id <> turn.id ORDER BY position LIMIT 1
    ), calls.* FROM agent_sessions_turn AS turn {_WITH_SUBTASK} turn.session_id CROSS JOIN LATERAL (
        SELECT coalesce(sum(cost), 0) AS calls_cost,
            coalesce(sum(cached_tokens) FILTER (WHERE purpose = 'step'), 0)::bigint AS calls_cached_tokens,
            coalesce(bool_or(
                cost IS NULL AND (input_tokens + output_tokens > 0 OR outcome IN ('lost', 'cancelled'))
            ), false) AS has_unpriced_calls
        FROM agent_sessions_modelcall AS call WHERE call.turn_id = turn.id
    ) AS calls WHERE turn.id = %s
"""
#: A turn with its session, and the sub-task in progress.
_TURN_WITH_SESSION = f"""
    SELECT {_TURN}, {_SESSION}, {_SUBTASK}
    FROM agent_sessions_turn AS turn JOIN agent_sessions_session AS session ON session.id = turn.session_id
    {_WITH_SUBTASK} session.id WHERE turn.id = %s AND session.deleted_at IS NULL
"""
#: A session, and the sub-task in progress.
_SESSION_WITH_SUBTASK = f"""
    SELECT {_SESSION}, {_SUBTASK} FROM agent_sessions_session AS session
    {_WITH_SUBTASK} session.id WHERE session.id = %s AND session.deleted_at IS NULL
"""
#: A call of a session, its turn with the sub-task, and whether other calls of the turn are open.
_CALL = f"""
    SELECT {columns(ToolCall, "call")}, {_TURN}, {_SUBTASK}, EXISTS (
        SELECT FROM agent_sessions_toolcall AS other
        WHERE other.turn_id = turn.id AND other.id <> call.id AND other.status IN ('asked', 'waiting')
    )
    FROM agent_sessions_toolcall AS call JOIN agent_sessions_turn AS turn ON turn.id = call.turn_id
    {_WITH_SUBTASK} turn.session_id
    WHERE turn.session_id = %s AND call.call_id = %s ORDER BY call.created_at DESC LIMIT 1
"""
_CURRENT_SUBTASK = f"""
    SELECT {_SUBTASK} FROM agent_sessions_plan AS plan JOIN agent_sessions_subtask AS subtask
    ON subtask.plan_id = plan.id AND subtask.status = 'in_progress'
    WHERE plan.session_id = %s AND plan.status = 'in_progress'
"""
_TURN_WIDTH, _SESSION_WIDTH, _CALL_WIDTH = width(Turn), width(Session), width(ToolCall)


@dataclass(frozen=True, slots=True)
class NextTurn:
    """The turn that a session's next attempt is at, and what else decides how the attempt begins."""

    turn: Turn
    budgets: tuple[uuid.UUID, ...]
    #: Providers that the user has keys for.
    own_keys: frozenset[str]


def next_turn(session: Session) -> NextTurn | None:
    """Return the session's active turn, or else the one that is next, with its sub-task."""
    for *values, budgets, providers in prepared(_NEXT_TURN, session.owner_id, session.owner_id, session.pk):
        return NextTurn(_turn_of(values), tuple(budgets), frozenset(providers))
    return None


def turn_with_use(turn_id: uuid.UUID) -> Turn:
    """Return a turn with its sub-task, the turn that is next in its session, and what its model calls have used."""
    ((*values, following, cost, cached_tokens, has_unpriced_calls),) = prepared(_TURN_WITH_USE, turn_id)
    turn = _turn_of(values)
    turn.following = following
    turn.calls_cost, turn.calls_cached_tokens, turn.has_unpriced_calls = cost, cached_tokens, has_unpriced_calls
    return turn


def turn_with_session(turn_id: uuid.UUID) -> Turn | None:
    """Return a turn with its session and sub-task, or None when the session was deleted."""
    for values in prepared(_TURN_WITH_SESSION, turn_id):
        turn = _turn_of([*values[:_TURN_WIDTH], *values[_TURN_WIDTH + _SESSION_WIDTH :]])
        turn.session = row_of(Session, values[_TURN_WIDTH : _TURN_WIDTH + _SESSION_WIDTH])
        return turn
    return None


def session_with_subtask(session_id: uuid.UUID) -> tuple[Session, SubTask | None] | None:
    """Return a session and the sub-task in progress, or None when the session was deleted."""
    for values in prepared(_SESSION_WITH_SUBTASK, session_id):
        return row_of(Session, values[:_SESSION_WIDTH]), _subtask_of(values[_SESSION_WIDTH:])
    return None


def call_with_turn(session: Session, call_id: str) -> ToolCall | None:
    """Return a call of a session with its turn and the turn's sub-task."""
    for *values, has_open_neighbours in prepared(_CALL, session.pk, call_id):
        call = row_of(ToolCall, values[:_CALL_WIDTH])
        call.turn, call.has_open_neighbours = _turn_of(values[_CALL_WIDTH:]), has_open_neighbours
        return call
    return None


def current_subtask(session: Session) -> SubTask | None:
    """Return the sub-task in progress of the session's plan. New messages belong to it."""
    return next((row_of(SubTask, values) for values in prepared(_CURRENT_SUBTASK, session.pk)), None)


def _turn_of(values: Sequence[Any]) -> Turn:
    turn = row_of(Turn, values[:_TURN_WIDTH])
    turn.subtask = _subtask_of(values[_TURN_WIDTH:])
    return turn


def _subtask_of(values: Sequence[Any]) -> SubTask | None:
    return row_of(SubTask, values) if values[0] else None
