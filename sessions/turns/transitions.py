"""How a turn moves from one state to the next: what every verb that changes one is made of.

    queued  → running | cancelled
    running → waiting | queued | completed | failed | cancelled
    waiting → queued | failed | cancelled

Each move is one guarded UPDATE, in a transaction that has locked the session first, and the events that tell of it are
written in the same one. No row changed means that somebody else was first, which is a normal outcome, not an error of
the database. Nothing here decides whether a turn is to move: that is for `lifecycle`, `queue`, `toolcalls`,
`completions` and `recovery`.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from sessions.billing import ledger
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    OPEN_STATUSES,
    Approval,
    ApprovalStatus,
    EventKind,
    ModelCallOutcome,
    Session,
    SubTask,
    ToolCallStatus,
    Turn,
    TurnStatus,
)
from sessions.results import Claim, StepResult
from sessions.turns import plans
from sessions.turns.transcript import store_unfinished

TRANSITIONS = {
    TurnStatus.QUEUED: {TurnStatus.RUNNING, TurnStatus.CANCELLED},
    TurnStatus.RUNNING: {
        TurnStatus.WAITING,
        TurnStatus.QUEUED,
        TurnStatus.COMPLETED,
        TurnStatus.FAILED,
        TurnStatus.CANCELLED,
    },
    TurnStatus.WAITING: {TurnStatus.QUEUED, TurnStatus.FAILED, TurnStatus.CANCELLED},
}

# What every turn needs several times; by hand, because to put them together takes the ORM longer than to run them.
_TURN = "SELECT * FROM agent_sessions_turn WHERE id = %s"
_FIRST_OPEN = """
    SELECT * FROM agent_sessions_turn WHERE session_id = %s AND status IN ('queued', 'running', 'waiting')
    ORDER BY position LIMIT 1
"""


def transition(turn: Turn, to: TurnStatus, **fields: Any) -> None:
    """The one guarded UPDATE: from the state and attempt that were read, or StaleAttempt."""
    if to not in TRANSITIONS[TurnStatus(turn.status)]:
        raise StaleAttempt(f"{turn.status} → {to}")
    now = timezone.now()
    if to != TurnStatus.RUNNING:
        fields["lease_expires_at"] = None
    if turn.status == TurnStatus.RUNNING and turn.claimed_at and "worked" not in fields:
        fields["worked"] = turn.worked + (now - turn.claimed_at)
    if to == TurnStatus.QUEUED:
        fields["queued_at"] = now
    if to not in OPEN_STATUSES:
        fields["finished_at"] = now
    guarded = Turn.objects.filter(pk=turn.pk, status=turn.status, attempt=turn.attempt)
    if guarded.update(status=to, **fields) != 1:
        raise StaleAttempt(f"{turn.status} → {to}")


def lock_claim(claim: Claim) -> tuple[Session, Turn]:
    """Return the session, locked, and the turn that the attempt holds. Raises StaleAttempt."""
    try:
        session = log.lock(claim.session_id)
    except Session.DoesNotExist:
        raise StaleAttempt("the session was deleted") from None
    (turn,) = Turn.objects.raw(_TURN, [claim.turn_id])
    if turn.status != TurnStatus.RUNNING or turn.attempt != claim.attempt:
        raise StaleAttempt(f"attempt {claim.attempt} is over")
    return session, turn


def count_step(turn: Turn, result: StepResult, subtask: SubTask | None = None) -> dict[str, Any]:
    """Count a finished step for the sub-task that it was in; return the fields of the turn that it changes."""
    if subtask:
        SubTask.objects.filter(pk=subtask.pk).update(steps=F("steps") + 1)
    return {
        "steps": turn.steps + 1,
        "plan_steps": turn.plan_steps + bool(subtask),
        "first_token_at": turn.first_token_at or result.first_token_at,
        "lost_leases": 0,
        "input_tokens": turn.input_tokens + result.usage.input_tokens,
        "output_tokens": turn.output_tokens + result.usage.output_tokens,
    }


def finish_or_continue(
    session: Session, turn: Turn, fields: dict[str, Any], course: plans.NextStep | None
) -> tuple[list[LoggedEvent], uuid.UUID | None]:
    """Move a running turn, locked, to its end, or to its next step where a plan goes on; return what is ready now."""
    name = {"turn_id": str(turn.pk)}
    new = course.events if course else []
    if course and course.goes_on:
        # Each sub-task has its own time.
        transition(turn, TurnStatus.QUEUED, worked=timedelta(), **fields)
        return log.append(session, [*new, turn_event(EventKind.TURN_QUEUED, turn.pk, name, turn.attempt)]), turn.pk
    transition(turn, TurnStatus.COMPLETED, **fields)
    payload = {**name, "input_tokens": fields["input_tokens"], "output_tokens": fields["output_tokens"]}
    events = log.append(session, [*new, turn_event(EventKind.TURN_COMPLETED, turn.pk, payload, turn.attempt)])
    return events, next_ready_turn(session)


def end_as_cancelled(session: Session, turn: Turn) -> list[LoggedEvent]:
    """End a turn that the caller has locked, at its user's wish; what it had shown is kept.

    The session's plan ends with it, unless the turn was still to come.
    """
    _close_calls(turn)
    if turn.status == TurnStatus.RUNNING:
        ledger.record_unseen(session, turn, ModelCallOutcome.CANCELLED)
    events = store_unfinished(session, turn)
    earlier = session.turns.filter(status__in=OPEN_STATUSES, position__lt=turn.position).exists()
    new = [] if earlier else plans.cancel(session)
    transition(turn, TurnStatus.CANCELLED)
    payload = {"turn_id": str(turn.pk)}
    return events + log.append(session, [*new, turn_event(EventKind.TURN_CANCELLED, turn.pk, payload, turn.attempt)])


def end_as_failed(
    session: Session, turn: Turn, code: str, text: str, retry_after: int | None = None
) -> list[LoggedEvent]:
    """End a turn that the caller has locked, with a sentence for people.

    A plan that it carries out goes on with the next message; one that was still to be decided is over.
    """
    _close_calls(turn)
    new = plans.cancel(session, only_draft=True)
    transition(turn, TurnStatus.FAILED, error_code=code, error=text)
    payload: dict[str, Any] = {"turn_id": str(turn.pk), "error_code": str(code), "error": text}
    if retry_after is not None:
        payload["retry_after"] = retry_after
    return log.append(session, [*new, turn_event(EventKind.TURN_FAILED, turn.pk, payload, turn.attempt)])


def _close_calls(turn: Turn) -> None:
    """Close what the turn's end leaves open: a call that is out may have run, and nobody will ever know."""
    now = timezone.now()
    pending = Approval.objects.filter(call__turn=turn, status=ApprovalStatus.PENDING)
    pending.update(status=ApprovalStatus.WITHDRAWN, decided_at=now)
    closed = {"result": "Error: the turn ended before this had a result.", "finished_at": now}
    turn.tool_calls.filter(status=ToolCallStatus.ASKED).update(status=ToolCallStatus.REJECTED, **closed)
    turn.tool_calls.filter(status=ToolCallStatus.WAITING).update(status=ToolCallStatus.UNKNOWN, **closed)


def first_open_turn(session_id: uuid.UUID) -> Turn | None:
    """Return the session's turn that is under way, or the one that is next."""
    return next(iter(Turn.objects.raw(_FIRST_OPEN, [session_id])), None)


def next_ready_turn(session: Session) -> uuid.UUID | None:
    """Return the session's next turn when it is queued and nothing before it is open."""
    first = first_open_turn(session.pk)
    return first.pk if first and first.status == TurnStatus.QUEUED else None


def turn_event(kind: EventKind, turn_id: uuid.UUID, payload: dict[str, Any], attempt: int = 0) -> NewEvent:
    """Return an event of a turn."""
    return NewEvent(kind=kind, turn_id=turn_id, payload=payload, attempt=attempt)
