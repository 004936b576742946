"""The transitions of a turn. Every verb that changes a turn's state uses them.

    queued  → running | cancelled
    running → waiting | queued | completed | failed | cancelled
    waiting → queued | failed | cancelled

Each transition is one guarded UPDATE. Callers have locked the session, and write the events in the same transaction. An
UPDATE that changes no row lost a race, which is a normal outcome and not an error. This module never decides whether
a turn changes its state: the verbs in `attempts`, `inbox`, `tool_calls`, `completions` and `recovery` do. A turn that
ends leaves the messages that no step has read to a new one (`steering`).
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F
from django.utils import timezone

from llm.types import TokenUsage
from sessions.billing import ledger
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    OPEN_CALLS,
    OPEN_STATUSES,
    Approval,
    ApprovalStatus,
    EventKind,
    Message,
    MessageRole,
    ModelCallOutcome,
    ModelCallPurpose,
    Session,
    SubTask,
    ToolCallStatus,
    Turn,
    TurnStatus,
    new_id,
)
from sessions.results import AcceptedMessage, Claim, StepResult
from sessions.statements import NOW, Sql, columns, insert, prepared, row_of, update
from sessions.turns import plans
from sessions.turns.rows import lock_turn, lock_turn_for_calls, turn_with_use
from sessions.turns.steering import queue_unread
from sessions.turns.transcript import give_title, store_message, store_unfinished

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

# Written by hand, because every turn runs these several times and the ORM takes longer to build them than they run.
#: The first turn of a session that has not ended.
_FIRST_OPEN = f"""
    SELECT {columns(Turn)} FROM agent_sessions_turn WHERE session_id = %s AND status IN ('queued', 'running', 'waiting')
    ORDER BY position LIMIT 1
"""


def transition(turn: Turn, to: TurnStatus, **fields: Any) -> None:
    """Move a turn to another state. Raises StaleAttempt if its state or attempt has changed since it was read.

    All times are the database's, because other processes compare them.
    """
    if to not in TRANSITIONS[TurnStatus(turn.status)]:
        raise StaleAttempt(f"{turn.status} → {to}")
    fields |= {"recover_after": None, "recovery_failures": 0}
    fields.setdefault("retry_at", None)
    if to != TurnStatus.RUNNING:
        fields["lease_expires_at"] = None
    if turn.status == TurnStatus.RUNNING and turn.claimed_at and "worked" not in fields:
        fields["worked"] = Sql("worked + (statement_timestamp() - claimed_at)")
    if to == TurnStatus.QUEUED:
        # From then on it waits for a worker.
        fields["queued_at"] = fields["retry_at"] or NOW
    if to not in OPEN_STATUSES:
        fields["finished_at"] = NOW
    guard = {"status": turn.status, "attempt": turn.attempt}
    update(turn, {"status": to, **fields}, guard, StaleAttempt(f"{turn.status} → {to}"))


def lock_claim(claim: Claim, calls: Sequence[str] = ()) -> tuple[Session, Turn]:
    """Return the session, locked, and the turn that the attempt holds. Raises StaleAttempt.

    `calls` are ids of new tool calls, for which more is read (`rows.lock_turn_for_calls`).
    """
    place = claim.session_id, claim.turn_id
    turn = lock_turn_for_calls(*place, calls) if calls else lock_turn(*place)
    if turn is None:
        raise StaleAttempt("the session was deleted")
    if turn.status != TurnStatus.RUNNING or turn.attempt != claim.attempt:
        raise StaleAttempt(f"attempt {claim.attempt} is over")
    return turn.session, turn


def count_use(turn: Turn, result: StepResult | None = None) -> dict[str, Any]:
    """Return the tokens and the cost of a turn of `lock_claim`, with those of a step that is not recorded yet."""
    calls = result.calls if result else ()
    usage = result.usage if result and result.purpose == ModelCallPurpose.STEP else TokenUsage()
    is_unpriced = any(call.cost is None and call.usage.input_tokens + call.usage.output_tokens for call in calls)
    cost = turn.calls_cost + sum((call.cost or Decimal() for call in calls), Decimal())
    return {
        "input_tokens": turn.input_tokens + usage.input_tokens,
        "output_tokens": turn.output_tokens + usage.output_tokens,
        "cached_tokens": turn.calls_cached_tokens + usage.cached_tokens,
        "cost": None if is_unpriced or turn.has_unpriced_calls else cost,
    }


def _used(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens and the cost of a turn as the event of its end has them."""
    used = {name: fields[name] for name in ("input_tokens", "output_tokens", "cached_tokens")}
    return used if fields["cost"] is None else {**used, "cost": f"{fields['cost'].normalize():f}"}


def count_step(turn: Turn, result: StepResult, subtask: SubTask | None = None) -> dict[str, Any]:
    """Count a finished step in its sub-task. Return the fields of the turn that the step changes."""
    if subtask:
        SubTask.objects.filter(pk=subtask.pk).update(steps=F("steps") + 1)
    return {
        "steps": turn.steps + 1,
        "plan_steps": turn.plan_steps + bool(subtask),
        "first_token_at": turn.first_token_at or result.first_token_at,
        "lost_leases": 0,
        **count_use(turn, result),
    }


def queue_message(
    session: Session,
    content: str,
    *,
    before: Sequence[NewEvent] = (),
    images: Sequence[dict[str, Any]] = (),
    client_message_id: str | None = None,
    turn_id: uuid.UUID | None = None,
    model: str = "",
    api_key: uuid.UUID | None = None,
) -> AcceptedMessage:
    """Store a user's message in a locked session and queue a new turn for it. Their events follow `before`."""
    message_id, turn_id = new_id(), turn_id or new_id()
    fields = {"images": images} if images else {}
    message = Message(id=message_id, session=session, turn_id=turn_id, role=MessageRole.USER, content=content, **fields)
    message.client_message_id = client_message_id or ""
    events = store_message(message, before=before, after=[turn_event(EventKind.TURN_QUEUED, turn_id)], **fields)
    number = events[-1].number
    insert(Turn(id=turn_id, session=session, position=number, model=model, api_key=api_key))
    give_title(session, content)
    return AcceptedMessage(
        events=events, ready=turn_id, session_id=session.pk, message_id=message_id, turn_id=turn_id, number=number
    )


def requeue(
    session: Session, turn: Turn, attempt: int = 0, *, before: Sequence[NewEvent] = (), **fields: Any
) -> list[LoggedEvent]:
    """Queue a locked turn again. Its event follows `before`; `attempt` is the one that gives the turn back."""
    transition(turn, TurnStatus.QUEUED, **fields)
    return log.append(session, [*before, turn_event(EventKind.TURN_QUEUED, turn.pk, attempt)])


def finish_or_continue(
    session: Session, turn: Turn, fields: dict[str, Any], next_step: plans.NextStep | None = None
) -> tuple[list[LoggedEvent], uuid.UUID | None]:
    """Complete a running, locked turn, or queue it if its plan has more work. Return events and the ready turn."""
    new = next_step.events if next_step else []
    if next_step and next_step.has_more_work:
        # Each sub-task has its own time limit.
        return requeue(session, turn, turn.attempt, before=new, worked=timedelta(), **fields), turn.pk
    transition(turn, TurnStatus.COMPLETED, **fields)
    events = queue_unread(session, turn)
    # Messages that no step has read have a turn of their own now.
    has_new_turn = bool(events)
    events += log.append(session, [*new, turn_event(EventKind.TURN_COMPLETED, turn.pk, turn.attempt, **_used(fields))])
    return events, next_ready_turn(session) if has_new_turn else turn.following


def end_as_cancelled(session: Session, turn: Turn) -> list[LoggedEvent]:
    """End a locked turn because its user stopped it. Text that clients have seen is kept.

    The session's plan ends too, unless an earlier turn is open.
    """
    _close_calls(turn)
    # A turn that has not begun has used nothing.
    fields = count_use(turn_with_use(turn.pk) if turn.attempt else turn)
    if turn.status == TurnStatus.RUNNING:
        ledger.record_unseen(session, turn, ModelCallOutcome.CANCELLED)
        fields["cost"] = None
    events = store_unfinished(session, turn)
    earlier = session.turns.filter(status__in=OPEN_STATUSES, position__lt=turn.position).exists()
    new = [] if earlier else plans.cancel(session)
    new.append(_cancel(turn, fields))
    return events + queue_unread(session, turn) + log.append(session, new)


def cancel_waiting(turn: Turn) -> NewEvent:
    """Cancel a locked turn that has not begun. Return the event."""
    return _cancel(turn, count_use(turn))


def _cancel(turn: Turn, fields: Mapping[str, Any]) -> NewEvent:
    transition(turn, TurnStatus.CANCELLED, **fields)
    return turn_event(EventKind.TURN_CANCELLED, turn.pk, turn.attempt, **_used(fields))


def end_as_failed(
    session: Session,
    turn: Turn,
    code: str,
    text: str,
    retry_after: int | None = None,
    *,
    use: Mapping[str, Any] | None = None,
    context: Mapping[str, int] | None = None,
) -> list[LoggedEvent]:
    """End a locked turn with a code and a sentence for the user. `use` is what `count_use` returns.

    A plan that is carried out continues with the next message; a plan without a decision is cancelled.
    """
    _close_calls(turn)
    new = plans.cancel(session, only_draft=True)
    use = use or count_use(turn_with_use(turn.pk))
    transition(turn, TurnStatus.FAILED, error_code=code, error=text, **use)
    payload: dict[str, Any] = {"error_code": str(code), "error": text, **_used(use)}
    if retry_after is not None:
        payload["retry_after"] = retry_after
    if context:
        payload["context"] = context
    events = queue_unread(session, turn)
    return events + log.append(session, [*new, turn_event(EventKind.TURN_FAILED, turn.pk, turn.attempt, **payload)])


def _close_calls(turn: Turn) -> None:
    """Withdraw pending approvals and close open calls. The outcome of a call that a client may have run is unknown."""
    if turn.status != TurnStatus.WAITING:
        # Only a turn that waits has open calls.
        return
    now = timezone.now()
    withdraw_approvals(call__turn=turn)
    closed = {"result": "Error: the turn ended before this call had a result.", "finished_at": now}
    asked = turn.tool_calls.filter(status=ToolCallStatus.ASKED, unknown_since=None)
    asked.update(status=ToolCallStatus.REJECTED, **closed)
    turn.tool_calls.filter(status__in=OPEN_CALLS).update(status=ToolCallStatus.UNKNOWN, **closed)


def withdraw_approvals(**of: Any) -> None:
    """Withdraw pending approvals that need no answer any more."""
    pending = Approval.objects.filter(status=ApprovalStatus.PENDING, **of)
    pending.update(status=ApprovalStatus.WITHDRAWN, decided_at=timezone.now())


def first_open_turn(session_id: uuid.UUID) -> Turn | None:
    """Return the session's active turn, or else the one that is next."""
    return next((row_of(Turn, values) for values in prepared(_FIRST_OPEN, session_id)), None)


def next_ready_turn(session: Session) -> uuid.UUID | None:
    """Return the session's next turn when it is queued and nothing before it is open."""
    first = first_open_turn(session.pk)
    return first.pk if first and first.status == TurnStatus.QUEUED else None


def turn_event(kind: EventKind, turn_id: uuid.UUID, attempt: int = 0, /, **payload: Any) -> NewEvent:
    """Return an event of a turn. `attempt` is the one that writes it, 0 outside attempts."""
    return NewEvent(kind=kind, turn_id=turn_id, payload={"turn_id": str(turn_id), **payload}, attempt=attempt)
