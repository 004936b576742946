"""Reserves a model call's maximum cost beforehand and books its actual cost afterwards.

Budgets must never be overspent, not even by concurrent calls: one guarded UPDATE for each budget decides. A
reservation belongs to an attempt and must never outlive it: the transaction that ends the attempt settles it, also when
the worker died. Locks are taken in one order: first the session, then its budgets by their ids.
"""

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
from sessions.errors import ModelCallDenied, StaleAttempt
from sessions.events import log
from sessions.models import Budget, Period, Reservation, Session, Turn, TurnStatus
from sessions.protocol.codes import ErrorCode
from sessions.results import Claim
from sessions.statements import prepared

ZERO = Decimal()
#: The unit of amounts, as the columns store them.
SMALLEST_AMOUNT = Decimal("0.00000001")
#: The budgets of a turn's user, session and API key.
_BUDGETS_OF_TURN = """
    SELECT id FROM agent_sessions_budget WHERE owner_id = %s OR session_id = %s OR api_key = %s::uuid ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the ledger assumes of a call whose end is unknown."""

    model: str
    input_tokens: int
    cost: Decimal


def of_turn(session: Session, turn: Turn) -> tuple[uuid.UUID, ...]:
    """Return the budgets that a turn's model calls count against."""
    return tuple(pk for (pk,) in prepared(_BUDGETS_OF_TURN, session.owner_id, session.pk, turn.api_key))


def reserve(claim: Claim, request: ModelRequest, spent: Decimal = ZERO) -> None:
    """Reserve what one call may cost, and `spent`, the cost of the attempt's earlier calls, in all of its budgets.

    Replaces an earlier reservation of the same attempt. Raises ModelCallDenied, and then reserves nothing; raises
    StaleAttempt when the attempt is over, because its reservation would never be settled.
    """
    highest, lowest = prices.max_cost(request), prices.input_cost(request)
    if highest is None or lowest is None:
        raise _price_unknown(request)
    amount = _round(spent + highest)
    fields = {
        "model": request.model,
        "amount": amount,
        "input_cost": _round(spent + lowest),
        "input_tokens": prices.estimate(request).input_tokens,
    }
    with transaction.atomic():
        try:
            log.lock(claim.session_id)
        except Session.DoesNotExist:
            raise StaleAttempt("the session was deleted") from None
        if not Turn.objects.filter(pk=claim.turn_id, status=TurnStatus.RUNNING, attempt=claim.attempt).exists():
            raise StaleAttempt(f"attempt {claim.attempt} is over")
        reservations = Reservation.objects.filter(turn=claim.turn_id, attempt=claim.attempt)
        earlier = dict(reservations.values_list("budget", "amount"))
        # An operator may have deleted budgets since the turn was claimed.
        for budget in Budget.objects.filter(pk__in=claim.budgets).order_by("pk"):
            _add_to_reserved(budget, amount - earlier.get(budget.pk, ZERO))
            Reservation.objects.update_or_create(
                budget=budget, turn_id=claim.turn_id, attempt=claim.attempt, defaults=fields
            )


def pay_ahead(claim: Claim, request: ModelRequest) -> Decimal:
    """Count what one call may cost as spent, in all of a turn's budgets, and return it. `correct` gives the rest back.

    Raises ModelCallDenied, and then counts nothing.
    """
    highest = prices.max_cost(request)
    if highest is None:
        raise _price_unknown(request)
    amount = _round(highest)
    with transaction.atomic():
        try:
            log.lock(claim.session_id)
        except Session.DoesNotExist:
            return ZERO
        for budget in Budget.objects.filter(pk__in=claim.budgets).order_by("pk"):
            _add_to_reserved(budget, amount)
            _count(budget.pk, amount, amount)
    return amount


def _price_unknown(request: ModelRequest) -> ModelCallDenied:
    text = f"The server does not know the price of {request.model}, so it cannot keep the model within your budget."
    return ModelCallDenied(
        ErrorCode.PRICE_UNKNOWN, f"{text} Choose another model, or ask the operator to add its price to the catalog."
    )


def _add_to_reserved(budget: Budget, amount: Decimal) -> None:
    now = timezone.now()
    period_start = Period(budget.period).start(now) or budget.period_start
    spent = Case(When(period_start__lt=period_start, then=Value(ZERO)), default=F("spent"))
    start = Case(When(period_start__lt=period_start, then=Value(period_start)), default=F("period_start"))
    # The row decides as it is when the UPDATE has locked it, not as it was read.
    guarded = Budget.objects.alias(now_spent=spent).filter(
        pk=budget.pk, limit__gte=F("now_spent") + F("reserved") + Value(amount)
    )
    if not guarded.update(spent=spent, period_start=start, reserved=F("reserved") + Value(amount)):
        raise exhausted(budget, now)


def exhausted(budget: Budget, now: datetime) -> ModelCallDenied:
    """Return the error for a call that costs more than a budget has left."""
    whose = "this session" if budget.session_id else "this API key" if budget.api_key else "you"
    text = f"The budget for {whose} has too little left for another model call"
    until = Period(budget.period).end(now)
    if until is None:
        return ModelCallDenied(ErrorCode.BUDGET_EXHAUSTED, f"{text}. Ask the operator of this server to raise it.")
    text = f"{text} until {until:%Y-%m-%d %H:%M} UTC. Wait until then, or ask the operator of this server to raise it."
    return ModelCallDenied(ErrorCode.BUDGET_EXHAUSTED, text, retry_after=max(1, round((until - now).total_seconds())))


def settle(turn: Turn, cost: Decimal) -> None:
    """Count what a turn's attempt has cost and end its reservations; the session is locked.

    Does nothing without reservations, so that it may be called again.
    """
    for reservation in _reservations(turn):
        _settle(reservation, cost)


def settle_unseen(turn: Turn, *, at_most: bool) -> Settlement | None:
    """Settle an attempt that did not report its calls; return what was assumed, or None without a reservation.

    `at_most`: assume the highest cost, because a living worker corrects it (`correct`). Otherwise assume that the model
    has read its input and written nothing.
    """
    settlement = None
    for reservation in _reservations(turn):
        cost = reservation.amount if at_most else reservation.input_cost
        settlement = Settlement(reservation.model, reservation.input_tokens, cost)
        _settle(reservation, cost)
    return settlement


def settle_earlier(turn: Turn) -> None:
    """Settle earlier attempts at a turn, which a process of an older version may have ended; the session is locked."""
    for reservation in Reservation.objects.filter(turn=turn).order_by("budget"):
        _settle(reservation, reservation.input_cost)


def correct(budgets: Iterable[uuid.UUID], difference: Decimal) -> None:
    """Add the difference to what was spent of budgets; the session is locked."""
    for budget_id in sorted(budgets):
        _count(budget_id, difference, ZERO)


def _settle(reservation: Reservation, cost: Decimal) -> None:
    _count(reservation.budget_id, cost, reservation.amount)
    reservation.delete()


def _count(budget_id: uuid.UUID, cost: Decimal, amount: Decimal) -> None:
    # A new period may have begun, with less spent than a negative cost takes away.
    spent = Case(When(spent__lt=-_round(cost), then=Value(ZERO)), default=F("spent") + Value(_round(cost)))
    Budget.objects.filter(pk=budget_id).update(spent=spent, reserved=F("reserved") - Value(amount))


def _reservations(turn: Turn) -> list[Reservation]:
    return list(Reservation.objects.filter(turn=turn, attempt=turn.attempt).order_by("budget"))


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(SMALLEST_AMOUNT, rounding=ROUND_UP)
