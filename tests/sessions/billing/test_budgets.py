"""Budgets: turns at the same time never overspend, and nothing stays reserved, also when workers die."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection
from django.db.models import Sum
from django.utils import timezone

from llm import catalog, prices
from llm.types import CallOutcome, CallRecord, ModelMessage, ModelRequest
from sessions.billing import budgets, ledger
from sessions.errors import ModelCallDenied, StaleAttempt
from sessions.models import Budget, ModelCall, Period, Reservation, Session, Turn, TurnStatus, new_id
from sessions.results import Claim, StepResult
from sessions.turns import attempts, inbox, recovery
from sessions.turns.deletion import delete_session
from sessions.turns.sessions import open_session
from tests.sessions import story

pytestmark = pytest.mark.django_db(transaction=True)

MODEL = "test/dollar"
CATALOG = f"""
[models."{MODEL}"]
[[models."{MODEL}".prices]]
input = 1000000
output = 1000000
"""
#: A dollar a token: one token of input and at most two of output.
REQUEST = ModelRequest(model=MODEL, messages=(ModelMessage(role="user", content="1"),), max_output_tokens=2)
MAX_CALL_DOLLARS = 3


@pytest.fixture(autouse=True)
def _prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # So that a dollar is easy to follow; how much is reserved for what, tests/llm/test_prices.py says.
    monkeypatch.setattr(prices, "MAX_OVERHEAD_TOKENS", 0)
    file = tmp_path / "models.toml"
    file.write_text(CATALOG)
    catalog.use([file])
    yield
    catalog.use([])


def budget(limit: int, **scope: Any) -> Budget:
    return Budget.objects.create(limit=limit, **scope)


claim = partial(story.claim, model=MODEL)
begin = partial(story.begin, model=MODEL)


def paid(dollars: int, *earlier: CallRecord, tokens: tuple[int, int] = (0, 0)) -> StepResult:
    call = story.model_call(model=MODEL, tokens=tokens, cost=dollars, attempt=1 + len(earlier))
    return story.step("x", *earlier, call)


def state(row: Budget) -> tuple[int, int]:
    row.refresh_from_db()
    return int(row.spent), int(row.reserved)


def refusal(held: Claim, request: ModelRequest = REQUEST) -> ModelCallDenied:
    with pytest.raises(ModelCallDenied) as caught:
        budgets.reserve(held, request)
    return caught.value


def expire(held: Claim) -> None:
    Turn.objects.filter(pk=held.turn_id).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_a_call_is_reserved_before_it_and_settled_after_it(session: Session) -> None:
    row = budget(10, owner=session.owner)
    held = begin(session)
    assert held.budgets == (row.pk,)
    budgets.reserve(held, REQUEST)
    assert state(row) == (0, MAX_CALL_DOLLARS)
    attempts.complete(held, paid(2))
    assert state(row) == (2, 0)
    assert not Reservation.objects.exists()


def test_a_second_call_of_an_attempt_replaces_what_was_reserved_and_counts_the_first(session: Session) -> None:
    row = budget(10, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    # The answer to a COMMIT was lost.
    budgets.reserve(held, REQUEST)
    assert state(row) == (0, MAX_CALL_DOLLARS)
    budgets.reserve(held, REQUEST, Decimal(1))
    assert state(row) == (0, MAX_CALL_DOLLARS + 1)
    failed = story.model_call(model=MODEL, cost=1, outcome=CallOutcome.TRUNCATED, error_code="model_truncated")
    attempts.complete(held, paid(2, failed))
    assert state(row) == (3, 0)
    assert list(ModelCall.objects.order_by("number").values_list("number", "cost")) == [
        (1, Decimal(1)),
        (2, Decimal(2)),
    ]


def test_a_call_that_exceeds_one_budget_is_reserved_in_none(session: Session) -> None:
    large, small = budget(10, owner=session.owner), budget(2, session=session)
    held = begin(session)
    error = refusal(held)
    assert (error.code, error.retry_after) == ("budget_exhausted", None)
    assert "this session" in str(error)
    assert state(large) == state(small) == (0, 0)
    change = attempts.fail(held, code=error.code, text=str(error), result=StepResult(message_id=new_id(), text=""))
    assert change.events[-1].payload["error_code"] == "budget_exhausted"
    assert not ModelCall.objects.exists()


def test_a_model_without_a_price_is_denied_within_a_budget(session: Session) -> None:
    budget(10, owner=session.owner)
    error = refusal(begin(session), ModelRequest(model="test/unknown", messages=()))
    assert error.code == "price_unknown"
    assert "test/unknown" in str(error)


def test_a_budget_counts_for_its_own_user_key_and_session(session: Session, bob: User) -> None:
    key = uuid.uuid4()
    mine = {budget(1, owner=session.owner).pk, budget(1, session=session).pk, budget(1, api_key=key).pk}
    budget(1, owner=bob)
    budget(1, api_key=uuid.uuid4())
    budget(1, session=open_session(session.owner_id, "another"))
    assert set(begin(session, api_key=key).budgets) == mine


@pytest.mark.parametrize("scopes", [{}, {"owner": True, "api_key": True}, {"owner": True, "session": True}])
def test_a_budget_has_one_scope(session: Session, scopes: dict[str, bool]) -> None:
    values = {"owner": session.owner, "api_key": uuid.uuid4(), "session": session}
    with pytest.raises(IntegrityError, match="budget_has_one_scope"):
        budget(1, **{name: values[name] for name in scopes})


@pytest.mark.parametrize("period", [Period.DAY, Period.MONTH])
def test_a_new_period_begins_with_nothing_spent(session: Session, period: Period) -> None:
    row = budget(4, owner=session.owner, period=period)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    attempts.complete(held, paid(3))
    error = refusal(held := begin(session))
    assert error.retry_after
    attempts.cancel(session.pk, held.turn_id)
    Budget.objects.update(period_start=timezone.now() - timedelta(days=32))
    row.refresh_from_db()
    assert row.spending(timezone.now()) == 0
    budgets.reserve(begin(session), REQUEST)
    assert state(row) == (0, MAX_CALL_DOLLARS)
    assert row.period_start == period.start(timezone.now())


def test_periods_begin_and_end_at_midnight_in_utc() -> None:
    now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert (Period.DAY.start(now), Period.DAY.end(now)) == (
        datetime(2026, 12, 31, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert (Period.MONTH.start(now), Period.MONTH.end(now)) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert Period.TOTAL.start(now) is Period.TOTAL.end(now) is None


# What dies


def test_a_lost_call_counts_only_its_input(session: Session) -> None:
    row = budget(10, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    expire(held)
    recovery.recover(held.turn_id)
    assert state(row) == (1, 0)
    lost = ModelCall.objects.get()
    assert (lost.outcome, lost.model, lost.input_tokens, lost.cost, lost.estimated) == (
        *("lost", MODEL, 1, Decimal(1), True),
    )
    # The worker is alive, but nothing would settle a new reservation.
    with pytest.raises(StaleAttempt):
        budgets.reserve(held, REQUEST)
    # It reports its call.
    ledger.correct(held, paid(3, tokens=(1, 2)))
    assert state(row) == (3, 0)
    lost.refresh_from_db()
    assert (lost.outcome, lost.cost, lost.output_tokens, lost.estimated) == ("lost", Decimal(3), 2, False)


def test_the_next_attempt_settles_reservations_of_earlier_ones(session: Session) -> None:
    row = budget(10, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    # A worker of an older version, without budgets, has released the turn.
    Turn.objects.update(status=TurnStatus.QUEUED, lease_expires_at=None)
    claim(held.turn_id)
    assert state(row) == (1, 0)


def test_a_cancelled_call_counts_in_full_until_its_worker_reports_it(session: Session) -> None:
    row = budget(3, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    attempts.cancel(session.pk, held.turn_id)
    assert state(row) == (MAX_CALL_DOLLARS, 0)
    ledger.correct(held, paid(2))
    assert state(row) == (2, 0)
    assert list(ModelCall.objects.values_list("outcome", "cost")) == [("cancelled", Decimal(2))]


def test_a_cancelled_call_of_a_dead_worker_counts_its_input(session: Session) -> None:
    row = budget(3, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    # Two renewals of the lease are missing.
    Turn.objects.update(lease_expires_at=timezone.now() + timedelta(seconds=5))
    attempts.cancel(session.pk, held.turn_id)
    assert state(row) == (1, 0)


def test_an_attempt_cancelled_before_its_call_costs_nothing(session: Session) -> None:
    row = budget(3, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    attempts.cancel(session.pk, held.turn_id)
    ledger.correct(held, StepResult(message_id=new_id(), text=""))
    assert state(row) == (0, 0)


def test_a_released_turn_counts_what_its_call_cost(session: Session) -> None:
    row = budget(10, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    attempts.release(held, paid(2))
    assert state(row) == (2, 0)
    assert ModelCall.objects.get().outcome == "lost"


def test_a_deleted_session_leaves_nothing_reserved(session: Session) -> None:
    row = budget(10, owner=session.owner)
    held = begin(session)
    budgets.reserve(held, REQUEST)
    delete_session(session.pk)
    assert state(row) == (MAX_CALL_DOLLARS, 0)
    with pytest.raises(Session.DoesNotExist):
        ledger.correct(held, paid(2))


def test_a_deleted_budget_blocks_nothing(session: Session) -> None:
    row = budget(1, owner=session.owner)
    held = begin(session)
    row.delete()
    budgets.reserve(held, REQUEST)
    attempts.complete(held, paid(2))


# Many at once

LIMIT, TURNS = 40, 64
#: No more connections than the pool has.
_connections = threading.Semaphore(16)


def in_database[R](verb: Callable[..., R], *args: Any, **more: Any) -> R:
    with _connections:
        try:
            return verb(*args, **more)
        finally:
            connection.close()


class Crowd:
    """Turns of one user at the same time; `true` is their real cost, as far as it can be known."""

    def __init__(self, row: Budget, seed: int) -> None:
        self.row, self.seed = row, seed
        self.true = Decimal()
        self.refused = 0
        self.worst = Decimal()
        self._lock = threading.Lock()

    def look(self) -> None:
        spent, reserved = in_database(Budget.objects.values_list("spent", "reserved").get, pk=self.row.pk)
        with self._lock:
            self.worst = max(self.worst, spent + reserved)

    def cost(self, dollars: int) -> None:
        with self._lock:
            self.true += dollars

    def turn(self, number: int) -> None:
        chance = random.Random(f"{self.seed}.{number}")
        session = in_database(open_session, self.row.owner_id or 0, f"s{number}")
        turn_id = in_database(inbox.accept_message, session.pk, "Hi").turn_id
        while True:
            held = in_database(claim, turn_id)
            try:
                in_database(budgets.reserve, held, REQUEST)
            except ModelCallDenied as error:
                in_database(
                    attempts.fail,
                    held,
                    code=error.code,
                    text=str(error),
                    result=StepResult(message_id=new_id(), text=""),
                )
                with self._lock:
                    self.refused += 1
                return
            self.look()
            match chance.choice(["completes", "completes", "fails", "cancelled", "dies", "dies", "parks"]):
                case "completes":
                    self.cost(3)
                    in_database(attempts.complete, held, paid(3))
                    return
                case "fails":
                    in_database(attempts.fail, held, code="model_unavailable", text="x", result=paid(0))
                    return
                case "cancelled":
                    self.cost(2)
                    in_database(attempts.cancel, session.pk, turn_id)
                    in_database(ledger.correct, held, paid(2))
                    return
                case "parks":
                    self.cost(1)
                    in_database(attempts.release, held, paid(1))
                case "dies":
                    self.cost(1)
                    in_database(expire, held)
                    in_database(recovery.recover, turn_id)
                    if in_database(Turn.objects.get, pk=turn_id).status == TurnStatus.FAILED:
                        return


@pytest.mark.parametrize("seed", [1, 2])
def test_many_turns_at_once_never_overspend_when_workers_die(alice: User, seed: int) -> None:
    crowd = Crowd(budget(LIMIT, owner=alice), seed)
    with ThreadPoolExecutor(TURNS) as threads:
        list(threads.map(crowd.turn, range(TURNS)))
    spent, reserved = state(crowd.row)
    assert reserved == 0
    assert set(Turn.objects.values_list("status", flat=True)) <= {"completed", "failed", "cancelled"}
    assert not Reservation.objects.exists()
    assert spent == crowd.true == ModelCall.objects.aggregate(sum=Sum("cost"))["sum"]
    assert crowd.worst <= LIMIT
    assert 0 < spent <= LIMIT
    assert crowd.refused
    # The rest of the budget can still be used.
    for number in range((LIMIT - spent) // MAX_CALL_DOLLARS):
        budgets.reserve(begin(open_session(alice.pk, f"more{number}")), REQUEST)
    refusal(begin(open_session(alice.pk, "too many")))
