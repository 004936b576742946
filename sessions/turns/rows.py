"""The rows that the verbs of every turn read: each verb locks its session and reads all it needs in one message.

The lock is a statement of its own, before the other: PostgreSQL takes the state that a statement sees before it waits
for a lock.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agents.loop import MAX_EQUAL_CALLS
from sessions.events import log
from sessions.models import Session, SubTask, ToolCall, Turn
from sessions.statements import Sql, columns, prepared, row_of, width

_TURN, _SUBTASK, _SESSION = columns(Turn, "turn"), columns(SubTask, "subtask"), columns(Session, "session")
#: Joins the sub-task in progress of the plan of a session, if there is one.
_WITH_SUBTASK = """
    LEFT JOIN (
        agent_sessions_plan AS plan JOIN agent_sessions_subtask AS subtask
        ON subtask.plan_id = plan.id AND subtask.status = 'in_progress'
    ) ON plan.status = 'in_progress' AND plan.session_id =
"""
#: The rules of a user for a session, as JSON.
_RULES = """
    SELECT coalesce(json_agg(json_build_array(effect, tool, subject, agent, folder) ORDER BY created_at), '[]')::text
    FROM agent_sessions_policyrule AS rule
    WHERE rule.owner_id = session.owner_id AND (rule.session_id = session.id OR rule.session_id IS NULL)
"""
#: Messages of a turn that are begun since its last step was stored, as JSON: their ids, and whether the latest attempt
#: has begun them. Earlier attempts count, too: clients without `codelab.v2` still show their text.
_BEGUN = """
    SELECT coalesce(json_agg(json_build_array(message_id, is_latest) ORDER BY first), '[]')::text FROM (
        SELECT payload->>'message_id' AS message_id, bool_or(attempt = turn.attempt) AS is_latest, min(number) AS first
        FROM agent_sessions_event AS event
        WHERE turn.attempt > 0 AND event.session_id = session.id AND event.number > greatest(turn.position, (
            SELECT max(number) FROM agent_sessions_message AS message
            WHERE message.turn_id = turn.id AND message.role <> 'user'
        ))
        AND event.turn_id = turn.id AND event.kind IN ('text_delta', 'reasoning_delta') GROUP BY 1
    ) AS begun
"""
#: A session, its first turn that has not ended, the sub-task, the turn's budgets, the providers that its user has keys
#: for, the user's rules, and begun messages.
_NEXT_TURN = f"""
    SELECT {_SESSION}, {_TURN}, {_SUBTASK}, ARRAY(
        SELECT id FROM agent_sessions_budget
        WHERE owner_id = session.owner_id OR session_id = session.id OR api_key = turn.api_key ORDER BY id
    ), ARRAY(SELECT provider FROM agent_sessions_providerkey WHERE owner_id = session.owner_id), ({_RULES}), ({_BEGUN})
    FROM agent_sessions_session AS session
    JOIN agent_sessions_turn AS turn ON turn.session_id = session.id {_WITH_SUBTASK} session.id
    WHERE session.id = (SELECT session_id FROM agent_sessions_turn WHERE id = %s) AND session.deleted_at IS NULL
    AND turn.status IN ('queued', 'running', 'waiting') ORDER BY turn.position LIMIT 1
"""
#: A session, a turn of it, and the sub-task in progress.
_TURN_OF_SESSION = f"""
    FROM agent_sessions_turn AS turn JOIN agent_sessions_session AS session ON session.id = turn.session_id
    {_WITH_SUBTASK} session.id
"""
#: The turn that is next, and what the model calls of a turn have used. A call without tokens costs nothing, unless it
#: was lost or stopped.
_USE = """
    (
        SELECT id FROM agent_sessions_turn AS next WHERE next.session_id = turn.session_id AND next.status = 'queued'
        AND next.id <> turn.id ORDER BY position LIMIT 1
    ), calls.*
"""
_CALLS = """
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(cost), 0) AS calls_cost,
            coalesce(sum(cached_tokens) FILTER (WHERE purpose = 'step'), 0)::bigint AS calls_cached_tokens,
            coalesce(bool_or(
                cost IS NULL AND (input_tokens + output_tokens > 0 OR outcome IN ('lost', 'cancelled'))
            ), false) AS has_unpriced_calls
        FROM agent_sessions_modelcall AS call WHERE call.turn_id = turn.id
    ) AS calls WHERE turn.id = %s AND session.deleted_at IS NULL
"""
_TURN_WITH_USE = f"SELECT {_SESSION}, {_TURN}, {_SUBTASK}, {_USE} {_TURN_OF_SESSION} {_CALLS}"
#: The same, and what decides about new tool calls: the user's rules, which of their ids the session has already, and
#: the calls of the turn's newest answers.
_TURN_FOR_CALLS = f"""
    SELECT {_SESSION}, {_TURN}, {_SUBTASK}, ({_RULES}), ARRAY(
        SELECT call.call_id FROM agent_sessions_toolcall AS call
        JOIN agent_sessions_turn AS earlier ON earlier.id = call.turn_id
        WHERE earlier.session_id = session.id AND call.call_id = ANY(%s::varchar[])
    ), ARRAY(
        SELECT tool_calls::text FROM agent_sessions_message
        WHERE turn_id = turn.id AND role = 'assistant' ORDER BY number DESC LIMIT %s
    ), {_USE} {_TURN_OF_SESSION} {_CALLS}
"""
#: A turn with its session, the sub-task in progress, and the user's rules.
_TURN_WITH_SESSION = f"""
    SELECT {_SESSION}, {_TURN}, {_SUBTASK}, ({_RULES}) {_TURN_OF_SESSION}
    WHERE turn.id = %s AND session.deleted_at IS NULL
"""
#: A session with a call of it, the call's turn with the sub-task, and whether other calls of the turn are open.
_OF_CALL = f"""
    SELECT {_SESSION}, {_TURN}, {_SUBTASK}, {columns(ToolCall, "call")}, EXISTS (
        SELECT FROM agent_sessions_toolcall AS other
        WHERE other.turn_id = turn.id AND other.id <> call.id AND other.status IN ('asked', 'waiting')
    )
    FROM agent_sessions_session AS session LEFT JOIN (
        agent_sessions_turn AS turn JOIN agent_sessions_toolcall AS call ON call.turn_id = turn.id AND call.call_id = %s
    ) ON turn.session_id = session.id
"""
_NEWEST_CALL = f"""
    {_WITH_SUBTASK} session.id
    WHERE session.id = %s AND session.deleted_at IS NULL ORDER BY call.created_at DESC LIMIT 1
"""
_CALL = f"{_OF_CALL} {_NEWEST_CALL}"
#: The same of the turn that waits. An index has it, and the session may have many turns, and the table many calls.
_WAITING_CALL = f"{_OF_CALL} AND turn.status = 'waiting' {_NEWEST_CALL}"
#: A session, and the message that a client has sent with an id before.
_SESSION_FOR_MESSAGE = f"""
    SELECT {_SESSION}, message.id, message.turn_id, message.number, message.steered
    FROM agent_sessions_session AS session LEFT JOIN agent_sessions_message AS message
    ON message.session_id = session.id AND message.client_message_id = %s AND message.client_message_id <> ''
    WHERE session.id = %s AND session.deleted_at IS NULL
"""
_RULES_OF_SESSION = f"SELECT ({_RULES}) FROM agent_sessions_session AS session WHERE id = %s"
_CURRENT_SUBTASK = f"""
    SELECT {_SUBTASK} FROM agent_sessions_plan AS plan JOIN agent_sessions_subtask AS subtask
    ON subtask.plan_id = plan.id AND subtask.status = 'in_progress'
    WHERE plan.session_id = %s AND plan.status = 'in_progress'
"""
_SESSION_WIDTH, _TURN_WIDTH, _SUBTASK_WIDTH = width(Session), width(Turn), width(SubTask)
#: Where the values behind a session, a turn and a sub-task begin.
_REST = _SESSION_WIDTH + _TURN_WIDTH + _SUBTASK_WIDTH


@dataclass(frozen=True, slots=True)
class NextTurn:
    """The turn that a session's next attempt is at, and what else decides how the attempt begins."""

    turn: Turn
    budgets: tuple[uuid.UUID, ...]
    #: Providers that the user has keys for.
    own_keys: frozenset[str]
    #: Messages that earlier attempts at the turn's current step have begun: whether the latest one did.
    begun: dict[str, bool]


def lock_next_turn(turn_id: uuid.UUID) -> NextTurn | None:
    """Lock the session of a turn. Return the session's active turn, or else the one that is next."""
    for values in prepared(_NEXT_TURN, turn_id, behind=log.lock_of_turn(turn_id)):
        budgets, providers, rules, begun = values[_REST:]
        turn = _turn_of(values)
        turn.rules = _rules_of(rules)
        return NextTurn(turn, tuple(budgets), frozenset(providers), dict(json.loads(begun)))
    return None


def lock_turn(session_id: uuid.UUID, turn_id: uuid.UUID) -> Turn | None:
    """Lock a session. Return a turn of it as `turn_with_use`, or None when the session was deleted."""
    return _read_use(turn_id, behind=log.lock_of(session_id))


def turn_with_use(turn_id: uuid.UUID) -> Turn:
    """Return a turn with its sub-task, the turn that is next in its session, and what its model calls have used."""
    if turn := _read_use(turn_id):
        return turn
    raise Turn.DoesNotExist


def lock_turn_for_calls(session_id: uuid.UUID, turn_id: uuid.UUID, call_ids: Sequence[str]) -> Turn | None:
    """Lock a session. Return what `lock_turn` returns, with what decides about new calls of these ids."""
    lock = log.lock_of(session_id)
    for values in prepared(_TURN_FOR_CALLS, list(call_ids), MAX_EQUAL_CALLS - 1, turn_id, behind=lock):
        rules, existing, answers, *use = values[_REST:]
        turn = _with_use(_turn_of(values), use)
        turn.rules, turn.existing_calls = _rules_of(rules), frozenset(existing)
        turn.newest_calls = [json.loads(calls) for calls in answers]
        return turn
    return None


def turn_with_session(turn_id: uuid.UUID) -> Turn | None:
    """Return a turn with its session, sub-task and rules, or None when the session was deleted."""
    for values in prepared(_TURN_WITH_SESSION, turn_id):
        turn = _turn_of(values)
        turn.rules = _rules_of(values[_REST])
        return turn
    return None


def lock_call(session_id: uuid.UUID, call_id: str) -> tuple[Session, ToolCall | None]:
    """Lock a session. Return it with a call (`call_with_turn`). Raises Session.DoesNotExist when it was deleted."""
    for values in prepared(_WAITING_CALL, call_id, session_id, behind=log.lock_of(session_id)):
        session = row_of(Session, values[:_SESSION_WIDTH])
        return session, _call_of(values) or call_with_turn(session, call_id)
    raise Session.DoesNotExist


def lock_for_message(
    session_id: uuid.UUID, client_message_id: str
) -> tuple[Session, tuple[uuid.UUID, uuid.UUID, int, bool] | None]:
    """Lock a session. Return it with the id, the turn, the number and the steering of a message that a client has sent.

    Raises Session.DoesNotExist when the session was deleted.
    """
    lock = log.lock_of(session_id)
    for values in prepared(_SESSION_FOR_MESSAGE, client_message_id, session_id, behind=lock):
        message_id, turn_id, number, is_steered = values[_SESSION_WIDTH:]
        earlier = (message_id, turn_id, number, is_steered) if message_id else None
        return row_of(Session, values[:_SESSION_WIDTH]), earlier
    raise Session.DoesNotExist


def call_with_turn(session: Session, call_id: str) -> ToolCall | None:
    """Return a call of a session with its turn and the turn's sub-task."""
    return next((_call_of(values) for values in prepared(_CALL, call_id, session.pk)), None)


def current_subtask(session: Session) -> SubTask | None:
    """Return the sub-task in progress of the session's plan. New messages belong to it."""
    return next((row_of(SubTask, values) for values in prepared(_CURRENT_SUBTASK, session.pk)), None)


def rules_of(session: Session) -> tuple[tuple[str, ...], ...]:
    """Return the rules of a user for a session."""
    ((text,),) = prepared(_RULES_OF_SESSION, session.pk)
    return _rules_of(text)


def _read_use(turn_id: uuid.UUID, behind: Sql | None = None) -> Turn | None:
    found = prepared(_TURN_WITH_USE, turn_id, behind=behind)
    return next((_with_use(_turn_of(values), values[_REST:]) for values in found), None)


def _with_use(turn: Turn, values: Sequence[Any]) -> Turn:
    turn.following, turn.calls_cost, turn.calls_cached_tokens, turn.has_unpriced_calls = values
    return turn


def _turn_of(values: Sequence[Any]) -> Turn:
    """Return the turn of a row that begins with a session, a turn and a sub-task."""
    turn = row_of(Turn, values[_SESSION_WIDTH : _SESSION_WIDTH + _TURN_WIDTH])
    turn.session = row_of(Session, values[:_SESSION_WIDTH])
    of_subtask = values[_SESSION_WIDTH + _TURN_WIDTH : _REST]
    turn.subtask = row_of(SubTask, of_subtask) if of_subtask[0] else None
    return turn


def _call_of(values: Sequence[Any]) -> ToolCall | None:
    *of_call, has_open_neighbours = values[_REST:]
    if of_call[0] is None:
        return None
    call = row_of(ToolCall, of_call)
    call.turn, call.has_open_neighbours = _turn_of(values), has_open_neighbours
    return call


def _rules_of(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, json.loads(text)))
