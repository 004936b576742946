"""The ledger of model calls: a row for each, written in the transaction that stores what came of it.

So what was asked, for how long and at what price is right after every restart. A call that nobody knows the end of is
there, too: as lost or cancelled. When the worker that made it is alive after all, it mends the row.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from agents.roles import UNASSIGNED
from llm.calls import CallRecord, Outcome
from llm.errors import ModelTimedOut
from sessions.billing import budgets
from sessions.events import log
from sessions.models import ModelCall, ModelCallOutcome, ModelCallPurpose, Session, Turn
from sessions.results import Claimed, Step, Used

OUTCOMES = {
    Outcome.COMPLETED: ModelCallOutcome.OK,
    Outcome.FAILED: ModelCallOutcome.FAILED,
    Outcome.TRUNCATED: ModelCallOutcome.TRUNCATED,
    Outcome.CANCELLED: ModelCallOutcome.CANCELLED,
}
#: Columns that stand in `Used` under the same name.
FIGURES = (
    *("purpose", "number", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "estimated"),
    *("cost", "own_key", "started_at"),
)
#: How calls end that their worker could not write down itself.
CUT_OFF = (ModelCallOutcome.CANCELLED, ModelCallOutcome.LOST)


def used(call: CallRecord, purpose: ModelCallPurpose) -> Used:
    """Return what the ledger keeps of a call."""
    return Used(**fields_of(call, purpose))


def fields_of(call: CallRecord, purpose: ModelCallPurpose) -> dict[str, Any]:
    """Return the fields of `Used` for a call."""
    first = call.time_to_first_token
    gave_up = call.outcome is Outcome.CANCELLED and purpose is ModelCallPurpose.ROUTING
    return {
        "purpose": purpose,
        "model": call.model,
        "number": call.attempt,
        "started_at": call.started_at,
        "first_token_at": None if first is None else call.started_at + timedelta(seconds=first),
        "ended_at": call.started_at + timedelta(seconds=call.duration),
        "input_tokens": call.usage.input_tokens,
        "output_tokens": call.usage.output_tokens,
        "cached_tokens": call.usage.cached_tokens,
        "reasoning_tokens": call.usage.reasoning_tokens,
        "estimated": call.usage.estimated,
        "cost": call.cost,
        "own_key": call.own_endpoint,
        "outcome": OUTCOMES[call.outcome],
        # Who gave up waiting for the choice of an agent has cancelled it.
        "error_code": call.error_code or (ModelTimedOut.code if gave_up else ""),
    }


def record(
    held: Claimed,
    session: Session,
    turn: Turn,
    used: Used,
    *,
    error_code: str = "",
    outcome: ModelCallOutcome | None = None,
    has_tool_calls: bool = False,
) -> None:
    """Write down model calls that their worker saw the end of, those of a step or one; the budgets pay for them.

    The last one has the given outcome, or has failed when it has an error code or one is given. The caller has locked
    the session and has not moved the turn yet. Where no model was asked, there is no row. The same again changes
    nothing.
    """
    calls = used.calls if isinstance(used, Step) else (used,) if used.started_at else ()
    rows = [_row(turn, call, agent=held.agent, session=session, owner_id=session.owner_id) for call in calls]
    for row in rows[-1:]:
        row.has_tool_calls = has_tool_calls
        row.outcome = outcome or row.outcome
        _fail(row, error_code)
    ModelCall.objects.bulk_create(rows, ignore_conflicts=True)
    if held.budgets:
        budgets.settle(turn, _cost(rows))


def record_cut_off(session: Session, turn: Turn, outcome: ModelCallOutcome) -> None:
    """Write down the model call of a running turn whose worker went away or was stopped; the same conditions.

    Nobody can ask the worker, so the time is that of the attempt, and the figures are those that its budgets take for
    granted. While no agent has been chosen, the call is the one that chooses.
    """
    if turn.claimed_at is None:
        return
    # A worker that is told to stop will say what there was. Until then nothing that it may cost is free for others.
    paid = budgets.settle_unseen(turn, at_most=outcome == ModelCallOutcome.CANCELLED)
    purpose = ModelCallPurpose.ROUTING if session.current_agent == UNASSIGNED else ModelCallPurpose.STEP
    used = Used(purpose=purpose, started_at=turn.claimed_at, outcome=outcome)
    row = _row(turn, used, agent=session.current_agent, session=session, owner_id=session.owner_id)
    if paid:
        row.model, row.input_tokens, row.cost, row.estimated = paid.model, paid.input_tokens, paid.cost, True
    row.save(force_insert=True)


def mend(held: Claimed, step: Step) -> None:
    """Put what a worker knows in place of what was written when it lost the turn. Once for an attempt.

    Does nothing where the session is gone: then nobody looks at its calls one by one.
    """
    with transaction.atomic():
        log.lock(held.session_id)
        rows = ModelCall.objects.filter(turn=held.turn_id, attempt=held.attempt, outcome__in=CUT_OFF)
        row = rows.order_by("-pk").first()
        if row is None or row.turn is None:
            return
        assumed = row.cost or Decimal()
        if not step.calls:
            row.cost, row.input_tokens = None, 0
            row.save(update_fields=["cost", "input_tokens"])
        for call in step.calls:
            known = _row(row.turn, call, agent=row.agent, session=row.session, owner_id=row.owner_id)
            known.attempt, known.step = row.attempt, row.step
            if call is step:
                known.pk, known.outcome, known.created_at = row.pk, row.outcome, row.created_at
                known.save(force_update=True)
            else:
                known.save(force_insert=True)
        if held.budgets:
            budgets.correct(held.budgets, sum((call.cost or Decimal() for call in step.calls), -assumed))


def dollars(turn: Turn) -> float:
    """Return what a turn has cost so far, in US dollars."""
    return float(turn.model_calls.aggregate(sum=Sum("cost", default=Decimal()))["sum"])


def _cost(rows: list[ModelCall]) -> Decimal:
    return sum((row.cost or Decimal() for row in rows), Decimal())


def _row(turn: Turn, used: Used, **fields: Any) -> ModelCall:
    assert used.started_at
    return ModelCall(
        id=used.call_id,
        turn=turn,
        attempt=turn.attempt,
        step=turn.steps,
        model=used.model or turn.model,
        outcome=used.outcome,
        error_code=used.error_code,
        duration=(used.ended_at or timezone.now()) - used.started_at,
        first_token_after=used.first_token_at - used.started_at if used.first_token_at else None,
        **{name: getattr(used, name) for name in FIGURES},
        **fields,
    )


def _fail(row: ModelCall, error_code: str) -> None:
    row.error_code = error_code or row.error_code
    if row.error_code and row.outcome != ModelCallOutcome.TRUNCATED:
        row.outcome = ModelCallOutcome.FAILED
