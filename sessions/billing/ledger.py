"""The ledger of model calls: the model, tokens, duration and price of each.

A row must never be written apart from what its call led to: both are in one transaction, so that they agree after every
restart. A call whose worker disappeared has a row too, as lost or cancelled. If the worker turns out to be alive, it
corrects the row.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now

from agents.loop import make_storable
from agents.roles import UNASSIGNED
from llm.errors import ModelTimedOut
from llm.types import CallOutcome, CallRecord
from sessions.billing import budgets, prompts
from sessions.events import log
from sessions.models import Completion, ModelCall, ModelCallOutcome, ModelCallPurpose, Replay, Session, Turn, new_id
from sessions.results import Claim, StepResult
from sessions.statements import insert

OUTCOMES = {
    CallOutcome.COMPLETED: ModelCallOutcome.OK,
    CallOutcome.FAILED: ModelCallOutcome.FAILED,
    CallOutcome.TRUNCATED: ModelCallOutcome.TRUNCATED,
    CallOutcome.CANCELLED: ModelCallOutcome.CANCELLED,
}
#: Of a provider's words about a failure.
MAX_DETAIL_CHARACTERS = 2_000
#: What a renewal each 3 s leaves of a lease of 12 s, with room for one renewal that fails.
MIN_LEASE_OF_LIVE_WORKER = timedelta(seconds=6)
#: Outcomes of calls that were recorded without a report of their worker.
UNSEEN_OUTCOMES = (ModelCallOutcome.CANCELLED, ModelCallOutcome.LOST)


def record(
    claim: Claim,
    session: Session,
    turn: Turn,
    calls: Sequence[CallRecord],
    *,
    purpose: ModelCallPurpose = ModelCallPurpose.STEP,
    error_code: str = "",
    outcome: ModelCallOutcome | None = None,
    has_tool_calls: bool = False,
    answer: uuid.UUID | None = None,
) -> None:
    """Write the rows of a step's model calls and charge the budgets. The same calls again change nothing.

    `outcome` and `error_code` are those of the last call; with an error code it has failed. The message `answer` has
    its answer. The caller has locked the session, commits, and changes the turn's state afterwards.
    """
    agent = UNASSIGNED if purpose is ModelCallPurpose.ROUTING else claim.agent
    client = _client_of(session, turn)
    rows = [_row(session, turn, call, purpose=purpose, agent=agent, **client) for call in calls]
    _store_prompts(claim, rows, calls)
    for row in rows[-1:]:
        row.answer = answer
        row.has_tool_calls = has_tool_calls
        row.outcome = outcome or row.outcome
        row.error_code = error_code or row.error_code
        if row.error_code and row.outcome != ModelCallOutcome.TRUNCATED:
            row.outcome = ModelCallOutcome.FAILED
    insert(*rows, is_repeatable=True)
    if claim.budgets:
        budgets.settle(turn, _total_cost(calls))


def _store_prompts(claim: Claim, rows: Iterable[ModelCall], calls: Sequence[CallRecord]) -> None:
    """Store what models were sent. A model itself is sent what its caller sent, which `Completion` has."""
    if not claim.is_completion or claim.agent:
        for row, name in zip(rows, prompts.store(claim.session_id, calls), strict=True):
            row.prompt = name


def record_beside(
    claim: Claim,
    session: Session,
    turn: Turn,
    calls: Sequence[CallRecord],
    *,
    purpose: ModelCallPurpose,
    error_code: str = "",
) -> Decimal:
    """Write the rows of calls that were made beside a turn's steps, and return their cost.

    Its reservations are not theirs. The caller has locked the session, charges the budgets and commits.
    """
    rows = [_row(session, turn, call, purpose=purpose, agent=claim.agent) for call in calls]
    _store_prompts(claim, rows, calls)
    for row in rows[-1:]:
        row.error_code = row.error_code or error_code
        if row.error_code and row.outcome == ModelCallOutcome.OK:
            row.outcome = ModelCallOutcome.FAILED
    ModelCall.objects.bulk_create(rows)
    return _total_cost(calls)


def row_of_replay(replay: Replay, call: CallRecord) -> ModelCall:
    """Return the row of a replay's call: of the person who asked, and of no session. The replay has its error."""
    no_turn = Turn(attempt=1, steps=0)
    row = _row(Session(), no_turn, replace(call, detail=""), purpose=ModelCallPurpose.REPLAY, agent=replay.call.agent)
    row.session, row.turn, row.owner = None, None, replay.requested_by
    return row


def record_unseen(session: Session, turn: Turn, outcome: ModelCallOutcome) -> None:
    """Write a row for the model call of a running turn whose worker disappeared or was stopped.

    The duration is that of the attempt, and the figures are those that the budgets assume. In a session without an
    agent, the call was the one that chooses it. The caller has locked the session and commits.
    """
    if turn.claimed_at is None:
        return
    # A stopped worker still reports its calls. Until then the budgets assume the highest cost. A dead one never does.
    is_reported = outcome == ModelCallOutcome.CANCELLED and _has_live_worker(turn)
    assumed = budgets.settle_unseen(turn, at_most=is_reported)
    ModelCall.objects.create(
        id=new_id(),
        owner_id=session.owner_id,
        session=session,
        turn=turn,
        attempt=turn.attempt,
        task=turn.task,
        step=turn.steps,
        purpose=ModelCallPurpose.ROUTING if session.current_agent == UNASSIGNED else ModelCallPurpose.STEP,
        agent=session.current_agent,
        model=assumed.model if assumed else turn.model,
        outcome=outcome,
        started_at=turn.claimed_at,
        duration=Now() - turn.claimed_at,
        input_tokens=assumed.input_tokens if assumed else 0,
        cost=assumed.cost if assumed else None,
        estimated=assumed is not None,
        **_client_of(session, turn),
    )


def _has_live_worker(turn: Turn) -> bool:
    """Return whether the worker of a turn has renewed its lease lately, by the database's clock."""
    renewed = Turn.objects.filter(pk=turn.pk, lease_expires_at__gt=Now() + MIN_LEASE_OF_LIVE_WORKER)
    return renewed.exists()


def correct(claim: Claim, result: StepResult) -> None:
    """Replace the row that was assumed for an attempt by the calls that its worker reports, once, and commit.

    Does nothing when the assumed row does not exist. Raises Session.DoesNotExist.
    """
    with transaction.atomic():
        log.lock(claim.session_id)
        rows = ModelCall.objects.filter(turn=claim.turn_id, attempt=claim.attempt, outcome__in=UNSEEN_OUTCOMES)
        assumed = rows.select_related("session", "turn").order_by("-pk").first()
        if assumed is None or assumed.session is None or assumed.turn is None:
            return
        assumed_cost = assumed.cost or Decimal()
        if not result.calls:
            assumed.cost, assumed.input_tokens = None, 0
            assumed.save(update_fields=["cost", "input_tokens"])
        client = _client_of(assumed.session, assumed.turn)
        reported = [
            _row(assumed.session, assumed.turn, each, purpose=result.purpose, agent=assumed.agent, **client)
            for each in result.calls
        ]
        _store_prompts(claim, reported, result.calls)
        for call, row in zip(result.calls, reported, strict=True):
            row.attempt, row.step = assumed.attempt, assumed.step
            if call is result.calls[-1]:
                row.pk, row.outcome, row.created_at = assumed.pk, assumed.outcome, assumed.created_at
                row.save(force_update=True)
            else:
                row.save(force_insert=True)
        if claim.budgets:
            budgets.correct(claim.budgets, _total_cost(result.calls) - assumed_cost)


def dollars(turn: Turn) -> float:
    """Return the cost of a turn so far, in US dollars."""
    return float(turn.model_calls.aggregate(sum=Sum("cost", default=Decimal()))["sum"])


def _total_cost(calls: Iterable[CallRecord]) -> Decimal:
    return sum((call.cost or Decimal() for call in calls), Decimal())


def _client_of(session: Session, turn: Turn) -> dict[str, str]:
    """Return how the client of a completion names its own session and the agent in it, as fields of a row."""
    if not session.is_completion:
        return {}
    names = "client_session", "client_agent"
    # Most steps have the request at hand; it may have megabytes.
    if Turn._meta.get_field("completion").is_cached(turn):
        return {name: getattr(turn.completion, name) for name in names}
    return Completion.objects.filter(turn=turn.pk).values(*names).first() or {}


def _row(
    session: Session, turn: Turn, call: CallRecord, *, purpose: ModelCallPurpose, agent: str, **client: str
) -> ModelCall:
    # Routing cancels its call when its own time limit has passed.
    is_timeout = purpose is ModelCallPurpose.ROUTING and call.outcome is CallOutcome.CANCELLED
    first_token = call.time_to_first_token
    return ModelCall(
        id=call.id,
        owner_id=session.owner_id,
        session=session,
        turn=turn,
        attempt=turn.attempt,
        task=turn.task,
        step=turn.steps,
        purpose=purpose,
        number=call.attempt,
        agent=agent,
        model=call.model,
        outcome=OUTCOMES[call.outcome],
        detail=make_storable(call.detail[:MAX_DETAIL_CHARACTERS]),
        error_code=call.error_code or (ModelTimedOut.code if is_timeout else ""),
        input_tokens=call.usage.input_tokens,
        output_tokens=call.usage.output_tokens,
        cached_tokens=call.usage.cached_tokens,
        reasoning_tokens=call.usage.reasoning_tokens,
        estimated=call.usage.estimated,
        cost=call.cost,
        own_key=call.own_endpoint,
        started_at=call.started_at,
        duration=timedelta(seconds=call.duration),
        first_token_after=None if first_token is None else timedelta(seconds=first_token),
        **client,
    )
