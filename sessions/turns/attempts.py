"""The life of a turn, one function per verb: claimed, renewed, completed, failed, cancelled, given back.

Each verb is one transaction that locks the session first, moves the turn (`sessions.turns.transitions`), and writes
the events that tell of it. The caller publishes the returned events and, where a turn became ready, sends its task:
both after the commit, and both may be lost without harm.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents.loop import Spent
from agents.plans import Status
from sessions import metrics
from sessions.billing import budgets, ledger, provider_keys
from sessions.database import atomic_until, rows
from sessions.errors import NothingToCancel
from sessions.events import log
from sessions.events.log import Attempt, LoggedEvent
from sessions.models import (
    OPEN_STATUSES,
    EventKind,
    MessageRole,
    ModelCallOutcome,
    ModelCallPurpose,
    Session,
    Turn,
    TurnStatus,
)
from sessions.results import AgentChoice, Change, Claim, StepResult
from sessions.turns import plans
from sessions.turns.current_agent import switch_agent
from sessions.turns.transcript import current_subtask, store_step, unfinished_texts
from sessions.turns.transitions import (
    count_step,
    end_as_cancelled,
    end_as_failed,
    finish_or_continue,
    first_open_turn,
    lock_claim,
    next_ready_turn,
    transition,
    turn_event,
)

#: How long a worker may keep a turn without renewing its lease.
LEASE_DURATION = timedelta(seconds=12)


def claim(turn_id: uuid.UUID, *, worker: str, model: str) -> tuple[Claim, Change] | None:
    """Claim a queued turn that is next in its session. None is a normal outcome: there is nothing to do."""
    found = rows("SELECT session_id FROM agent_sessions_turn WHERE id = %s", turn_id)
    if not found:
        return None
    now = timezone.now()
    with transaction.atomic():
        try:
            session = log.lock(found[0][0])
        except Session.DoesNotExist:
            return None
        turn = first_open_turn(session.pk)
        if turn is None or turn.pk != turn_id or turn.status != TurnStatus.QUEUED:
            return None
        attempt = turn.attempt + 1
        # A completion names its model; the request has stored it with the turn.
        model = (turn.model if session.is_completion else "") or model
        subtask = current_subtask(session)
        given_up = plans.give_up(session, subtask)
        if given_up:
            subtask = current_subtask(session)
        if subtask and not turn.attempt:
            # A message that was sent while the plan is carried out is for the agent at work.
            turn.messages.filter(role=MessageRole.USER).update(subtask=subtask)
        if given_up:
            turn.worked = timedelta()
        replaced = [shown["message_id"] for shown in unfinished_texts(session, turn)] if turn.attempt else []
        transition(
            turn,
            TurnStatus.RUNNING,
            attempt=attempt,
            worker=worker,
            model=model,
            lease_expires_at=now + LEASE_DURATION,
            started_at=turn.started_at or now,
            claimed_at=now,
            worked=turn.worked,
        )
        limits, own_keys = budgets.of_turn(session, turn), provider_keys.providers_of(session.owner_id)
        if limits and turn.attempt:
            budgets.settle_earlier(turn)
        dollars = ledger.dollars(turn) if settings.CODELAB_TURN_DOLLARS else 0.0
        # The step starts again, so clients replace what an earlier attempt has shown of it.
        payload = {"turn_id": str(turn_id), "attempt": attempt, "model": model, "replaces": replaced}
        events = log.append(session, [*given_up, turn_event(EventKind.TURN_STARTED, turn_id, payload, attempt)])
    claim = Claim(
        session_id=session.pk,
        turn_id=turn_id,
        attempt=attempt,
        owner_id=session.owner_id,
        agent=session.current_agent,
        spent=Spent(
            steps=subtask.steps if subtask else turn.steps - turn.plan_steps,
            seconds=turn.worked.total_seconds(),
            dollars=dollars,
        ),
        is_first_step=not turn.steps and subtask is None,
        is_repeat=bool(replaced),
        is_completion=session.is_completion,
        budgets=limits,
        own_keys=own_keys,
    )
    return claim, Change(events=events)


def renew(leases: Iterable[Attempt]) -> set[Attempt]:
    """Prolong the leases of the given attempts; return those that no longer hold their turn."""
    attempts = set(leases)
    with transaction.atomic():
        rows = Turn.objects.select_for_update(no_key=True).filter(status=TurnStatus.RUNNING)
        turns = rows.filter(pk__in=[turn_id for turn_id, _ in attempts]).order_by("pk")
        kept = attempts & set(turns.values_list("pk", "attempt"))
        Turn.objects.filter(pk__in=[turn_id for turn_id, _ in kept]).update(
            lease_expires_at=timezone.now() + LEASE_DURATION
        )
    return attempts - kept


def complete(claim: Claim, result: StepResult) -> Change:
    """Store the answer and end the turn, or the sub-task that it was in. Raises StaleAttempt."""
    with transaction.atomic():
        session, turn = lock_claim(claim)
        subtask = current_subtask(session)
        fields = count_step(turn, result, subtask)
        course = plans.finish(session, subtask, Status.COMPLETED, result.text) if subtask else None
        # The text that ends the turn is for the user, whichever agent wrote it.
        events = store_step(session, turn, result, subtask=subtask if course and course.goes_on else None)
        ledger.record(claim, session, turn, result.calls, purpose=result.purpose)
        moved, ready = finish_or_continue(session, turn, fields, course)
    if ready != turn.pk:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events + moved, ready=ready)


def fail(
    claim: Claim, *, code: str, text: str, result: StepResult | None = None, retry_after: int | None = None
) -> Change:
    """End the turn as failed, with a sentence for people; what it had said is kept. Raises StaleAttempt.

    After `retry_after` seconds it is worth another try.
    """
    with transaction.atomic():
        session, turn = lock_claim(claim)
        events: list[LoggedEvent] = []
        if result and (result.text or result.reasoning):
            events += store_step(session, turn, result, interrupted=True, subtask=current_subtask(session))
        if result:
            ledger.record(claim, session, turn, result.calls, purpose=result.purpose, error_code=code)
        events += end_as_failed(session, turn, code, text, retry_after)
        ready = next_ready_turn(session)
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
                raise NothingToCancel
            return Change(events=log.append(session, stopped))
        events = end_as_cancelled(session, turn)
        ready = next_ready_turn(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def release(claim: Claim, result: StepResult | None = None) -> Change:
    """Give a running turn back unfinished, because this worker is going away; another one starts its step again.

    `result` has the model calls that it made. Raises StaleAttempt.
    """
    with transaction.atomic():
        session, turn = lock_claim(claim)
        if result:
            ledger.record(claim, session, turn, result.calls, purpose=result.purpose, outcome=ModelCallOutcome.LOST)
        else:
            ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
        transition(turn, TurnStatus.QUEUED)
        events = log.append(
            session, [turn_event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)}, claim.attempt)]
        )
    return Change(events=events, ready=turn.pk)


def assign_agent(claim: Claim, choice: AgentChoice) -> tuple[Claim, Change]:
    """Store which agent takes the turn; return the claim with that agent. Raises StaleAttempt."""
    route = choice.route
    with transaction.atomic():
        session, turn = lock_claim(claim)
        if choice.calls:
            ledger.record(claim, session, turn, choice.calls, purpose=ModelCallPurpose.ROUTING)
        if route is None:
            return claim, Change()
        switched = switch_agent(
            session, route.agent, reason=route.reason, confidence=str(route.confidence), turn_id=turn.pk
        )
        events = log.append(session, [replace(switched, attempt=claim.attempt)])
    return replace(claim, agent=route.agent), Change(events=events)
