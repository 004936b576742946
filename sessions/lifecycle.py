"""Every change of a turn's state, one function per verb; the only writer of `Turn.status`.

    queued  → running | cancelled
    running → waiting | queued | completed | failed | cancelled
    waiting → queued | failed | cancelled

Each verb is one transaction that locks the session first, moves the turn by one guarded UPDATE, and writes the events
that tell of it. No row changed means that somebody else was first, which is a normal outcome, not an error of the
database. The caller publishes the returned events and, where a turn became ready, sends its task: both after the
commit, and both may be lost without harm.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents.roles import UNASSIGNED
from sessions import log, metrics
from sessions.changes import Accepted, Change, Claimed, NothingToCancel, StaleAttempt, Step, TooLate, ToolCallRefused
from sessions.conversation import (
    first_agent,
    make_call_ids_unique,
    message_added,
    shown_texts,
    store_message,
    store_shown,
    store_step,
)
from sessions.log import Attempt, LoggedEvent, NewEvent
from sessions.models import (
    OPEN_STATUSES,
    EventKind,
    Message,
    MessageRole,
    Session,
    ToolCall,
    ToolCallStatus,
    Turn,
    TurnStatus,
    new_id,
)
from sessions.protocol import ErrorCode

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

#: How long a worker may keep a turn without renewing its lease.
LEASE = timedelta(seconds=15)


def open_session(owner_id: int, key: str) -> Session:
    """Return the owner's session with this key, created on first use."""
    return Session.objects.get_or_create(owner_id=owner_id, key=key, defaults={"current_agent": UNASSIGNED})[0]


def accept_message(
    session_id: uuid.UUID, content: str, *, client_message_id: str | None = None, deadline: float = math.inf
) -> Accepted:
    """Store a user's message and queue its turn. Once this returns, the message will be answered or say why not.

    The same `client_message_id` again is the same message, whatever its text. Raises TooLate, and stores nothing, when
    it is not done at `deadline` (as `time.monotonic` counts).
    """
    message_id, turn_id = new_id(), new_id()
    with _atomic_until(deadline):
        session = log.lock(session_id)
        if client_message_id and (known := _already_accepted(session, client_message_id)):
            return known
        new = first_agent(session)
        new += [
            message_added(message_id, turn_id, MessageRole.USER, content),
            NewEvent(kind=EventKind.TURN_QUEUED, turn_id=turn_id, payload={"turn_id": str(turn_id)}),
        ]
        events = log.append(session, new)
        Turn.objects.create(id=turn_id, session=session, position=events[-1].number)
        message = Message(id=message_id, session=session, turn_id=turn_id, role=MessageRole.USER, content=content)
        message.client_message_id = client_message_id or ""
        store_message(message, events[-2])
    return Accepted(
        events=events,
        ready=turn_id,
        session_id=session_id,
        message_id=message_id,
        turn_id=turn_id,
        number=events[-1].number,
    )


def claim(turn_id: uuid.UUID, *, worker: str, model: str) -> Claimed | None:
    """Take a queued turn that is next in its session; None when there is nothing to do, which is a normal outcome."""
    session_id = Turn.objects.filter(pk=turn_id).values_list("session_id", flat=True).first()
    if session_id is None:
        return None
    now = timezone.now()
    with transaction.atomic():
        session = log.lock(session_id)
        turn = Turn.objects.get(pk=turn_id)
        earlier = session.turns.filter(status__in=OPEN_STATUSES, position__lt=turn.position)
        if turn.status != TurnStatus.QUEUED or earlier.exists():
            return None
        attempt = turn.attempt + 1
        replaced = [shown["message_id"] for shown in shown_texts(session, turn)] if turn.attempt else []
        move(
            turn,
            TurnStatus.RUNNING,
            attempt=attempt,
            worker=worker,
            model=model,
            lease_expires_at=now + LEASE,
            started_at=turn.started_at or now,
        )
        # What an attempt before this one had shown and not finished will be said again, as another message.
        payload = {"turn_id": str(turn_id), "attempt": attempt, "model": model, "replaces": replaced}
        events = log.append(session, [event(EventKind.TURN_STARTED, turn_id, payload, attempt)])
    return Claimed(
        events=events,
        session_id=session_id,
        turn_id=turn_id,
        attempt=attempt,
        agent=session.current_agent,
        steps=turn.steps,
    )


def renew(held: Iterable[Attempt]) -> set[Attempt]:
    """Prolong the leases of the given attempts; return those that no longer hold their turn."""
    attempts = set(held)
    with transaction.atomic():
        rows = Turn.objects.select_for_update(no_key=True).filter(status=TurnStatus.RUNNING)
        turns = rows.filter(pk__in=[turn_id for turn_id, _ in attempts]).order_by("pk")
        kept = attempts & set(turns.values_list("pk", "attempt"))
        Turn.objects.filter(pk__in=[turn_id for turn_id, _ in kept]).update(lease_expires_at=timezone.now() + LEASE)
    return attempts - kept


def complete(held: Claimed, step: Step) -> Change:
    """Store the answer and end the turn. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = _lock_held(held)
        events = store_step(session, turn, step)
        move(turn, TurnStatus.COMPLETED, **_counted(turn, step))
        payload = {
            "turn_id": str(turn.pk),
            "input_tokens": turn.input_tokens + step.input_tokens,
            "output_tokens": turn.output_tokens + step.output_tokens,
        }
        events += log.append(session, [event(EventKind.TURN_COMPLETED, turn.pk, payload, held.attempt)])
        ready = next_in(session)
    metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events, ready=ready)


def request_tools(held: Claimed, step: Step, calls: Sequence[ToolCall]) -> Change:
    """Store the step and its tool calls; the turn waits for their results and holds nothing. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = _lock_held(held)
        make_call_ids_unique(session, calls)
        wire = [{"id": call.call_id, "name": call.tool, "arguments": call.arguments} for call in calls]
        events = store_step(session, turn, step, tool_calls=wire)
        for call in calls:
            call.turn = turn
        ToolCall.objects.bulk_create(calls)
        move(turn, TurnStatus.WAITING, waiting_since=timezone.now(), **_counted(turn, step))
        new = [
            event(
                EventKind.TOOL_CALL_REQUESTED,
                turn.pk,
                {
                    "turn_id": str(turn.pk),
                    "call_id": call.call_id,
                    "tool": call.tool,
                    "arguments": call.arguments,
                    "requires_approval": call.requires_approval,
                },
                held.attempt,
            )
            for call in calls
        ]
        new.append(event(EventKind.TURN_WAITING, turn.pk, {"turn_id": str(turn.pk)}, held.attempt))
        events += log.append(session, new)
    return Change(events=events)


def record_tool_result(
    session_id: uuid.UUID, call_id: str, *, content: str, failed: bool, deadline: float = math.inf
) -> Change:
    """Take the result of a tool once; the last one of a turn queues it again. Raises ToolCallRefused and TooLate."""
    with _atomic_until(deadline):
        session = log.lock(session_id)
        call = ToolCall.objects.filter(turn__session=session, call_id=call_id).order_by("-created_at").first()
        if call is None:
            raise ToolCallRefused(ErrorCode.UNKNOWN_TOOL_CALL, f"There is no tool call `{call_id}` in this session.")
        status = ToolCallStatus.FAILED if failed else ToolCallStatus.COMPLETED
        turn = call.turn
        changed = ToolCall.objects.filter(pk=call.pk, status=ToolCallStatus.WAITING).update(
            status=status, result=content, finished_at=timezone.now()
        )
        if not changed or turn.status != TurnStatus.WAITING:
            raise ToolCallRefused(ErrorCode.TOOL_CALL_FINISHED, f"The tool call `{call_id}` has its result already.")
        payload = {"turn_id": str(turn.pk), "call_id": call_id, "status": str(status)}
        message_id = new_id()
        new = [
            event(EventKind.TOOL_CALL_FINISHED, turn.pk, payload),
            message_added(message_id, turn.pk, MessageRole.TOOL, content, tool_call_id=call_id),
        ]
        done = not turn.tool_calls.filter(status=ToolCallStatus.WAITING).exists()
        if done:
            move(turn, TurnStatus.QUEUED, waiting_since=None)
            new.append(event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)}))
        events = log.append(session, new)
        message = Message(
            id=message_id, session=session, turn=turn, role=MessageRole.TOOL, content=content, tool_call_id=call_id
        )
        store_message(message, events[1])
    return Change(events=events, ready=turn.pk if done else None)


def fail(held: Claimed, *, code: str, text: str, step: Step | None = None) -> Change:
    """End the turn as failed, with a sentence for people; what it had said is kept. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = _lock_held(held)
        events = store_step(session, turn, step, interrupted=True) if step and step.text else []
        events += end_as_failed(session, turn, code, text)
        ready = next_in(session)
    metrics.turn_ended(turn, TurnStatus.FAILED, code)
    return Change(events=events, ready=ready)


def cancel(session_id: uuid.UUID, turn_id: uuid.UUID | None, *, deadline: float = math.inf) -> Change:
    """End a turn at its user's wish, whatever it is doing; without an id the one that is running, waiting or next.

    No event of the turn can follow the one that tells of it: the worker's writes are refused from here on. What it had
    shown is kept. Raises NothingToCancel and TooLate.
    """
    with _atomic_until(deadline):
        session = log.lock(session_id)
        turns = session.turns.filter(status__in=OPEN_STATUSES).order_by("position")
        turn = (turns.filter(pk=turn_id) if turn_id else turns).first()
        if turn is None:
            raise NothingToCancel("There is no open turn to cancel.")
        now = timezone.now()
        turn.tool_calls.filter(status=ToolCallStatus.WAITING).update(
            status=ToolCallStatus.FAILED, result="Error: cancelled by the user.", finished_at=now
        )
        events = store_shown(session, turn)
        move(turn, TurnStatus.CANCELLED)
        events += log.append(
            session, [event(EventKind.TURN_CANCELLED, turn.pk, {"turn_id": str(turn.pk)}, turn.attempt)]
        )
        ready = next_in(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def release(held: Claimed) -> Change:
    """Give a running turn back unfinished, because this worker is going away; another one starts its step again."""
    with transaction.atomic():
        session, turn = _lock_held(held)
        move(turn, TurnStatus.QUEUED)
        events = log.append(session, [event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)}, held.attempt)])
    return Change(events=events, ready=turn.pk)


@contextmanager
def _atomic_until(deadline: float) -> Iterator[None]:
    """A transaction that is not committed after the deadline.

    A database that was frozen and thaws would otherwise commit what its client has long been told was refused.
    """
    with transaction.atomic():
        yield
        if time.monotonic() > deadline:
            raise TooLate


def move(turn: Turn, to: TurnStatus, **fields: Any) -> None:
    """The one guarded UPDATE: from the state and attempt that were read, or StaleAttempt."""
    if to not in TRANSITIONS[TurnStatus(turn.status)]:
        raise StaleAttempt(f"{turn.status} → {to}")
    if to != TurnStatus.RUNNING:
        fields["lease_expires_at"] = None
    if to == TurnStatus.QUEUED:
        fields["queued_at"] = fields["hinted_at"] = timezone.now()
    if to not in OPEN_STATUSES:
        fields["finished_at"] = timezone.now()
    guarded = Turn.objects.filter(pk=turn.pk, status=turn.status, attempt=turn.attempt)
    if guarded.update(status=to, **fields) != 1:
        raise StaleAttempt(f"{turn.status} → {to}")


def _already_accepted(session: Session, client_message_id: str) -> Accepted | None:
    message = session.messages.filter(client_message_id=client_message_id).select_related("turn").first()
    if message is None:
        return None
    return Accepted(
        session_id=session.pk,
        message_id=message.pk,
        turn_id=message.turn_id,
        number=message.turn.position,
        repeated=True,
    )


def _lock_held(held: Claimed) -> tuple[Session, Turn]:
    session = log.lock(held.session_id)
    turn = Turn.objects.get(pk=held.turn_id)
    if turn.status != TurnStatus.RUNNING or turn.attempt != held.attempt:
        raise StaleAttempt(f"attempt {held.attempt} is over")
    return session, turn


def _counted(turn: Turn, step: Step) -> dict[str, Any]:
    return {
        "steps": turn.steps + 1,
        "first_token_at": turn.first_token_at or step.first_token_at,
        "lost_leases": 0,
        "input_tokens": turn.input_tokens + step.input_tokens,
        "output_tokens": turn.output_tokens + step.output_tokens,
    }


def end_as_failed(session: Session, turn: Turn, code: str, text: str) -> list[LoggedEvent]:
    """End a turn that the caller has locked, with a sentence for people."""
    move(turn, TurnStatus.FAILED, error_code=code, error=text)
    payload = {"turn_id": str(turn.pk), "error_code": str(code), "error": text}
    return log.append(session, [event(EventKind.TURN_FAILED, turn.pk, payload, turn.attempt)])


def next_in(session: Session) -> uuid.UUID | None:
    """Return the session's next turn when it is queued and nothing before it is open."""
    first = session.turns.filter(status__in=OPEN_STATUSES).order_by("position").values_list("pk", "status").first()
    return first[0] if first and first[1] == TurnStatus.QUEUED else None


def event(kind: EventKind, turn_id: uuid.UUID, payload: dict[str, Any], attempt: int = 0) -> NewEvent:
    """Return an event of a turn."""
    return NewEvent(kind=kind, turn_id=turn_id, payload=payload, attempt=attempt)
