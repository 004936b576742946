"""Budgets: what a model call may cost is set aside before it, and what it did cost is counted after it.

One guarded UPDATE for each budget decides, so that calls at the same time cannot overspend together. A reservation
belongs to an attempt at a turn and is settled in the transaction that ends the attempt, also when its worker died: none
outlives it. Every function but `terms_of` and `left` locks a session before budgets, and budgets in the order of ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal

from django.db import transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from llm import prices
from llm.types import ModelRequest
from sessions.database import rows
from sessions.errors import ModelCallDenied, StaleAttempt
from sessions.events import log
from sessions.models import Budget, Period, Reservation, Session, Turn, TurnStatus
from sessions.protocol import ErrorCode
from sessions.results import Claim

ZERO = Decimal()
#: Digits that are kept of an amount, as the columns have them.
CENT = Decimal("0.00000001")
_OF_TURN = """
    SELECT id FROM agent_sessions_budget WHERE owner_id = %s OR session_id = %s OR api_key = %s::uuid ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call took that nobody saw the end of."""

    model: str
    input_tokens: int
    cost: Decimal


def of_turn(session: Session, turn: Turn) -> tuple[uuid.UUID, ...]:
    """Return the budgets that a turn's model calls count against."""
    return tuple(pk for (pk,) in rows(_OF_TURN, session.owner_id, session.pk, turn.api_key))


def reserve(claim: Claim, request: ModelRequest, spent: Decimal = ZERO) -> None:
    """Set aside what one call of the request's model may cost, besides `spent`, what earlier calls of it have cost.

    In all budgets of the attempt or in none; again for the same attempt it replaces what was set aside before. Raises
    ModelCallDenied, and StaleAttempt where the attempt is over: what it set aside would never be settled.
    """
    highest, least = prices.max_cost(request), prices.input_cost(request)
    if highest is None or least is None:
        text = f"The price of the model {request.model} is not known here, so it cannot be kept within your budget."
        raise ModelCallDenied(
            ErrorCode.PRICE_UNKNOWN,
            f"{text} Choose another model, or ask the operator to add its price to the catalog.",
        )
    amount = _rounded(spent + highest)
    fields = {
        "model": request.model,
        "amount": amount,
        "input_cost": _rounded(spent + least),
        "input_tokens": prices.estimate(request).input_tokens,
    }
    with transaction.atomic():
        try:
            log.lock(claim.session_id)
        except Session.DoesNotExist:
            raise StaleAttempt("the session was deleted") from None
        if not Turn.objects.filter(pk=claim.turn_id, status=TurnStatus.RUNNING, attempt=claim.attempt).exists():
            raise StaleAttempt(f"attempt {claim.attempt} is over")
        mine = Reservation.objects.filter(turn=claim.turn_id, attempt=claim.attempt)
        before = dict(mine.values_list("budget", "amount"))
        # Budgets that were deleted since the turn was claimed are none.
        for budget in Budget.objects.filter(pk__in=claim.budgets).order_by("pk"):
            _set_aside(budget, amount - before.get(budget.pk, ZERO))
            Reservation.objects.update_or_create(
                budget=budget, turn_id=claim.turn_id, attempt=claim.attempt, defaults=fields
            )


def _set_aside(budget: Budget, amount: Decimal) -> None:
    now = timezone.now()
    begun = Period(budget.period).start(now) or budget.period_start
    spent = Case(When(period_start__lt=begun, then=Value(ZERO)), default=F("spent"))
    start = Case(When(period_start__lt=begun, then=Value(begun)), default=F("period_start"))
    # The row that counts is the one that is there when its lock is ours, not the one that was read.
    fits = Budget.objects.alias(now_spent=spent).filter(
        pk=budget.pk, limit__gte=F("now_spent") + F("reserved") + Value(amount)
    )
    if not fits.update(spent=spent, period_start=start, reserved=F("reserved") + Value(amount)):
        raise exhausted(budget, now)


def exhausted(budget: Budget, now: datetime) -> ModelCallDenied:
    """Return the refusal of a call that a budget has no room for."""
    whose = "this session" if budget.session_id else "this API key" if budget.api_key else "you"
    text = f"The budget for {whose} has too little left for another model call"
    until = Period(budget.period).end(now)
    if until is None:
        return ModelCallDenied(ErrorCode.BUDGET_EXHAUSTED, f"{text}. Ask the operator of this server to raise it.")
    text = f"{text} until {until:%Y-%m-%d %H:%M} UTC. Wait until then, or ask the operator of this server to raise it."
    return ModelCallDenied(ErrorCode.BUDGET_EXHAUSTED, text, retry_after=max(1, round((until - now).total_seconds())))


def settle(turn: Turn, cost: Decimal) -> None:
    """Count what a turn's attempt has cost, and give the rest of what it had set aside back; the session is locked.

    Does nothing where nothing was set aside, so that it may be called again.
    """
    for reservation in _of_attempt(turn):
        _count(reservation.budget_id, cost, reservation.amount)
        reservation.delete()


def settle_unseen(turn: Turn, *, at_most: bool) -> Settlement | None:
    """Settle for an attempt whose calls nobody can tell of; return what is taken for granted, if there was a budget.

    That is what was set aside `at_most`: its worker is alive and mends it (`correct`). Otherwise it is what the model
    has read.
    """
    paid = None
    for reservation in _of_attempt(turn):
        cost = reservation.amount if at_most else reservation.input_cost
        paid = Settlement(reservation.model, reservation.input_tokens, cost)
        _count(reservation.budget_id, cost, reservation.amount)
        reservation.delete()
    return paid


def settle_earlier(turn: Turn) -> None:
    """Settle for earlier attempts at a turn, whose end a process of another version may have written; it is locked."""
    for reservation in Reservation.objects.filter(turn=turn).order_by("budget"):
        _count(reservation.budget_id, reservation.input_cost, reservation.amount)
        reservation.delete()


def correct(budgets: Iterable[uuid.UUID], difference: Decimal) -> None:
    """Add to what was spent of budgets, or take away: more is known now. The session is locked."""
    for budget_id in sorted(budgets):
        _count(budget_id, difference, ZERO)


def _count(budget_id: uuid.UUID, cost: Decimal, amount: Decimal) -> None:
    # A new period may have begun since: then there is less to take away from.
    spent = F("spent") + Value(_rounded(cost))
    spent_or_none = Case(When(spent__lt=-_rounded(cost), then=Value(ZERO)), default=spent)
    Budget.objects.filter(pk=budget_id).update(spent=spent_or_none, reserved=F("reserved") - Value(amount))


def _of_attempt(turn: Turn) -> list[Reservation]:
    return list(Reservation.objects.filter(turn=turn, attempt=turn.attempt).order_by("budget"))


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, rounding=ROUND_UP)
