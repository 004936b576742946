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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from agents.plans import Status
from agents.roles import UNASSIGNED
from sessions import budgets, ledger, log, metrics, plans, providerkeys
from sessions.changes import Change, Claimed, NothingToCancel, StaleAttempt, Step, TooLate
from sessions.conversation import (
    at_work,
    shown_texts,
    store_shown,
    store_step,
)
from sessions.log import Attempt, LoggedEvent, NewEvent
from sessions.models import (
    OPEN_STATUSES,
    Approval,
    ApprovalStatus,
    EventKind,
    MessageRole,
    ModelCallOutcome,
    Session,
    SubTask,
    ToolCallStatus,
    Turn,
    TurnStatus,
)

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
LEASE = timedelta(seconds=12)


def open_session(owner_id: int, key: str) -> Session:
    """Return the owner's session with this key, created on first use."""
    return Session.objects.get_or_create(owner_id=owner_id, key=key, defaults={"current_agent": UNASSIGNED})[0]


def note_tools(session_id: uuid.UUID, names: list[str]) -> None:
    """Remember which tools the session's client can run; counts from the next step on."""
    Session.objects.filter(pk=session_id).exclude(client_tools=names).update(client_tools=names)


def note_plans(session_id: uuid.UUID, shown: bool) -> None:
    """Remember whether the session's client can show a plan and answer it; counts from the next step on."""
    Session.objects.filter(pk=session_id).exclude(client_plans=shown).update(client_plans=shown)


def claim(turn_id: uuid.UUID, *, worker: str, model: str) -> Claimed | None:
    """Take a queued turn that is next in its session; None when there is nothing to do, which is a normal outcome."""
    session_id = Turn.objects.filter(pk=turn_id).values_list("session_id", flat=True).first()
    if session_id is None:
        return None
    now = timezone.now()
    with transaction.atomic():
        try:
            session = log.lock(session_id)
        except Session.DoesNotExist:
            return None
        turn = Turn.objects.get(pk=turn_id)
        earlier = session.turns.filter(status__in=OPEN_STATUSES, position__lt=turn.position)
        if turn.status != TurnStatus.QUEUED or earlier.exists():
            return None
        attempt = turn.attempt + 1
        # Who asks for a model by its name has given it to the turn.
        model = (turn.model if session.hidden else "") or model
        subtask = at_work(session)
        given_up = plans.give_up(session, subtask)
        if given_up:
            subtask = at_work(session)
        if subtask and not turn.attempt:
            # Sent while the plan is under way, it is for whoever is at work.
            turn.messages.filter(role=MessageRole.USER).update(subtask=subtask)
        if given_up:
            turn.worked = timedelta()
        replaced = [shown["message_id"] for shown in shown_texts(session, turn)] if turn.attempt else []
        move(
            turn,
            TurnStatus.RUNNING,
            attempt=attempt,
            worker=worker,
            model=model,
            lease_expires_at=now + LEASE,
            started_at=turn.started_at or now,
            claimed_at=now,
            worked=turn.worked,
        )
        limits, own_keys = budgets.of_turn(session, turn), providerkeys.providers_of(session.owner_id)
        if limits and turn.attempt:
            budgets.settle_earlier(turn)
        dollars = ledger.dollars(turn) if settings.CODELAB_TURN_DOLLARS else 0.0
        # What an attempt before this one had shown and not finished will be said again, as another message.
        payload = {"turn_id": str(turn_id), "attempt": attempt, "model": model, "replaces": replaced}
        events = log.append(session, [*given_up, event(EventKind.TURN_STARTED, turn_id, payload, attempt)])
    return Claimed(
        events=events,
        session_id=session_id,
        turn_id=turn_id,
        attempt=attempt,
        agent=session.current_agent,
        steps=subtask.steps if subtask else turn.steps - turn.plan_steps,
        first=not turn.steps and subtask is None,
        worked=turn.worked,
        again=bool(replaced),
        owner_id=session.owner_id,
        budgets=limits,
        own_keys=own_keys,
        dollars=dollars,
        stateless=session.hidden,
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
    """Store the answer and end the turn, or the sub-task that it was in. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = lock_held(held)
        subtask = at_work(session)
        fields = counted(turn, step, subtask)
        course = plans.finish(session, subtask, Status.COMPLETED, step.text) if subtask else None
        # What ends the turn is said to the user, whoever says it.
        events = store_step(session, turn, step, subtask=subtask if course and course.goes_on else None)
        ledger.record(held, session, turn, step)
        moved, ready = go_on(session, turn, fields, course)
    if ready != turn.pk:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events + moved, ready=ready)


def go_on(
    session: Session, turn: Turn, fields: dict[str, Any], course: plans.Course | None
) -> tuple[list[LoggedEvent], uuid.UUID | None]:
    """Move a running turn, locked, to its end, or to its next step where a plan goes on; return what is ready now."""
    name = {"turn_id": str(turn.pk)}
    new = course.events if course else []
    if course and course.goes_on:
        # Each sub-task has its own time.
        move(turn, TurnStatus.QUEUED, worked=timedelta(), **fields)
        return log.append(session, [*new, event(EventKind.TURN_QUEUED, turn.pk, name, turn.attempt)]), turn.pk
    move(turn, TurnStatus.COMPLETED, **fields)
    payload = {**name, "input_tokens": fields["input_tokens"], "output_tokens": fields["output_tokens"]}
    events = log.append(session, [*new, event(EventKind.TURN_COMPLETED, turn.pk, payload, turn.attempt)])
    return events, next_in(session)


def fail(held: Claimed, *, code: str, text: str, step: Step | None = None, retry_after: int | None = None) -> Change:
    """End the turn as failed, with a sentence for people; what it had said is kept. Raises StaleAttempt.

    After `retry_after` seconds it is worth another try.
    """
    with transaction.atomic():
        session, turn = lock_held(held)
        events: list[LoggedEvent] = []
        if step and (step.text or step.reasoning):
            events += store_step(session, turn, step, interrupted=True, subtask=at_work(session))
        if step:
            ledger.record(held, session, turn, step, error_code=code)
        events += end_as_failed(session, turn, code, text, retry_after)
        ready = next_in(session)
    metrics.turn_ended(turn, TurnStatus.FAILED, code)
    return Change(events=events, ready=ready)


def cancel(session_id: uuid.UUID, turn_id: uuid.UUID | None, *, deadline: float = math.inf) -> Change:
    """End a turn at its user's wish, whatever it is doing; without an id the one that is running, waiting or next.

    With it ends the plan that it carries out; a plan that waits for its user's next message is ended without a turn.
    No event of the turn can follow the one that tells of it: the worker's writes are refused from here on. What it had
    shown is kept. Raises NothingToCancel and TooLate.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        turns = session.turns.filter(status__in=OPEN_STATUSES).order_by("position")
        turn = (turns.filter(pk=turn_id) if turn_id else turns).first()
        if turn is None:
            stopped = [] if turn_id else plans.cancel(session)
            if not stopped:
                raise NothingToCancel("There is no open turn to cancel.")
            return Change(events=log.append(session, stopped))
        events = end_as_cancelled(session, turn)
        ready = next_in(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def release(held: Claimed, step: Step | None = None) -> Change:
    """Give a running turn back unfinished, because this worker is going away; another one starts its step again.

    `step` says which model calls there were. Raises StaleAttempt.
    """
    with transaction.atomic():
        session, turn = lock_held(held)
        if step:
            ledger.record(held, session, turn, step, outcome=ModelCallOutcome.LOST)
        else:
            ledger.record_cut_off(session, turn, ModelCallOutcome.LOST)
        move(turn, TurnStatus.QUEUED)
        events = log.append(session, [event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)}, held.attempt)])
    return Change(events=events, ready=turn.pk)


@contextmanager
def atomic_until(deadline: float) -> Iterator[None]:
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


def lock_held(held: Claimed) -> tuple[Session, Turn]:
    """Return the session, locked, and the turn that the attempt holds. Raises StaleAttempt."""
    try:
        session = log.lock(held.session_id)
    except Session.DoesNotExist:
        raise StaleAttempt("the session was deleted") from None
    turn = Turn.objects.get(pk=held.turn_id)
    if turn.status != TurnStatus.RUNNING or turn.attempt != held.attempt:
        raise StaleAttempt(f"attempt {held.attempt} is over")
    return session, turn


def counted(turn: Turn, step: Step, subtask: SubTask | None = None) -> dict[str, Any]:
    """Count a finished step for the sub-task that it was in; return the fields of the turn that it changes."""
    if subtask:
        SubTask.objects.filter(pk=subtask.pk).update(steps=F("steps") + 1)
    return {
        "steps": turn.steps + 1,
        "plan_steps": turn.plan_steps + bool(subtask),
        "first_token_at": turn.first_token_at or step.first_token_at,
        "lost_leases": 0,
        "input_tokens": turn.input_tokens + step.input_tokens,
        "output_tokens": turn.output_tokens + step.output_tokens,
    }


def end_as_cancelled(session: Session, turn: Turn) -> list[LoggedEvent]:
    """End a turn that the caller has locked, at its user's wish; what it had shown is kept.

    The session's plan ends with it, unless the turn was still to come.
    """
    _close_calls(turn)
    if turn.status == TurnStatus.RUNNING:
        ledger.record_cut_off(session, turn, ModelCallOutcome.CANCELLED)
    events = store_shown(session, turn)
    earlier = session.turns.filter(status__in=OPEN_STATUSES, position__lt=turn.position).exists()
    new = [] if earlier else plans.cancel(session)
    move(turn, TurnStatus.CANCELLED)
    payload = {"turn_id": str(turn.pk)}
    return events + log.append(session, [*new, event(EventKind.TURN_CANCELLED, turn.pk, payload, turn.attempt)])


def end_as_failed(
    session: Session, turn: Turn, code: str, text: str, retry_after: int | None = None
) -> list[LoggedEvent]:
    """End a turn that the caller has locked, with a sentence for people.

    A plan that it carries out goes on with the next message; one that was still to be decided is over.
    """
    _close_calls(turn)
    new = plans.cancel(session, only_draft=True)
    move(turn, TurnStatus.FAILED, error_code=code, error=text)
    payload: dict[str, Any] = {"turn_id": str(turn.pk), "error_code": str(code), "error": text}
    if retry_after is not None:
        payload["retry_after"] = retry_after
    return log.append(session, [*new, event(EventKind.TURN_FAILED, turn.pk, payload, turn.attempt)])


def _close_calls(turn: Turn) -> None:
    """Close what the turn's end leaves open: a call that is out may have run, and nobody will ever know."""
    now = timezone.now()
    pending = Approval.objects.filter(call__turn=turn, status=ApprovalStatus.PENDING)
    pending.update(status=ApprovalStatus.WITHDRAWN, decided_at=now)
    closed = {"result": "Error: the turn ended before this had a result.", "finished_at": now}
    turn.tool_calls.filter(status=ToolCallStatus.ASKED).update(status=ToolCallStatus.REJECTED, **closed)
    turn.tool_calls.filter(status=ToolCallStatus.WAITING).update(status=ToolCallStatus.UNKNOWN, **closed)


def next_in(session: Session) -> uuid.UUID | None:
    """Return the session's next turn when it is queued and nothing before it is open."""
    first = session.turns.filter(status__in=OPEN_STATUSES).order_by("position").values_list("pk", "status").first()
    return first[0] if first and first[1] == TurnStatus.QUEUED else None


def event(kind: EventKind, turn_id: uuid.UUID, payload: dict[str, Any], attempt: int = 0) -> NewEvent:
    """Return an event of a turn."""
    return NewEvent(kind=kind, turn_id=turn_id, payload=payload, attempt=attempt)
