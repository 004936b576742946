"""The attempts of workers at turns: claim, renew, complete, fail, cancel, release.

Each verb is one transaction that locks the session first, changes the turn (`sessions.turns.transitions`), and writes
the events. After the commit the caller publishes the returned events and sends the task of a turn that became ready;
both may be lost without harm. An attempt that has lost its turn never writes anything.
"""

import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from django.conf import settings

from agents.loop import Limits, TurnUsage
from agents.plans import Status
from agents.roles import role_of
from sessions import metrics
from sessions.billing import budgets, ledger
from sessions.database import atomic_until
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
from sessions.statements import NOW, Sql, atomic, prepared
from sessions.turns import plans, retries, workspaces
from sessions.turns.current_agent import switch_agent
from sessions.turns.rows import NextTurn, current_subtask, lock_next_turn
from sessions.turns.steering import mark_read, unread_messages
from sessions.turns.transcript import store_step
from sessions.turns.transitions import (
    count_step,
    count_use,
    end_as_cancelled,
    end_as_failed,
    finish_or_continue,
    lock_claim,
    next_ready_turn,
    requeue,
    transition,
    turn_event,
)

#: How long a worker may keep a turn without renewing its lease.
LEASE_DURATION = timedelta(seconds=12)
#: Renews leases, and returns the attempts that are over.
_RENEW = """
    WITH held AS (SELECT * FROM unnest(%s::uuid[], %s::integer[]) AS held(id, attempt)),
    free AS (
        SELECT turn.id FROM agent_sessions_turn AS turn JOIN held USING (id, attempt)
        WHERE turn.status = 'running' FOR NO KEY UPDATE OF turn SKIP LOCKED
    ),
    renewed AS (
        UPDATE agent_sessions_turn AS turn SET lease_expires_at = statement_timestamp() + %s
        FROM free WHERE turn.id = free.id
    )
    SELECT held.id, held.attempt FROM held LEFT JOIN agent_sessions_turn AS turn USING (id, attempt)
    WHERE turn.status IS DISTINCT FROM 'running'
"""


def claim(turn_id: uuid.UUID, *, worker: str, model: str, task: str = "") -> tuple[Claim, Change] | None:
    """Claim a queued turn that is next in its session. Return None, a normal outcome, when it cannot be claimed.

    `model` is the one of agents that name none.
    """
    claimed = claim_with_turn(turn_id, worker=worker, model=model, task=task)
    return claimed and claimed[:2]


def claim_with_turn(
    turn_id: uuid.UUID, *, worker: str, model: str, task: str = ""
) -> tuple[Claim, Change, Turn] | None:
    """Claim a turn (`claim`). Return also the turn with its session, its sub-task and its user's rules."""
    with atomic():
        following = lock_next_turn(turn_id)
        if following is None:
            return None
        turn = following.turn
        if turn.pk != turn_id or turn.status != TurnStatus.QUEUED or not retries.is_due(turn):
            return None
        return (*_start_attempt(following, worker, model, task), turn)


def _start_attempt(following: NextTurn, worker: str, model: str, task: str) -> tuple[Claim, Change]:
    turn, subtask = following.turn, following.turn.subtask
    session: Session = turn.session
    attempt = turn.attempt + 1
    new = plans.give_up(session, subtask)
    if new:
        turn.subtask = subtask = current_subtask(session)
        turn.worked = timedelta()
    if subtask and not turn.attempt:
        # A message that was sent while the plan is carried out is for the agent of the current sub-task.
        turn.messages.filter(role=MessageRole.USER).update(subtask=subtask)
    if not turn.attempt:
        workspaces.begin_turn(session, turn)
    # A completion without an agent names its model; the request has stored it with the turn.
    if not session.is_completion or session.current_agent:
        turn.model, _ = role_of(session.current_agent).choose_models(model)
    # The step is repeated, so clients replace the text that an earlier attempt sent of it.
    replaced = [message_id for message_id, is_latest in following.begun.items() if is_latest]
    spent = TurnUsage(
        steps=subtask.steps if subtask else turn.steps - turn.plan_steps,
        seconds=turn.worked.total_seconds(),
        dollars=ledger.dollars(turn) if settings.CODELAB_TURN_DOLLARS else 0.0,
    )
    # Without a step the turn ends now, and leaves them to another one.
    read = [] if turn_limits().check(spent) else unread_messages(turn)
    transition(
        turn,
        TurnStatus.RUNNING,
        attempt=attempt,
        worker=worker,
        task=task,
        model=turn.model,
        lease_expires_at=Sql("statement_timestamp() + %s::interval", (LEASE_DURATION,)),
        started_at=Sql("coalesce(started_at, statement_timestamp())"),
        claimed_at=NOW,
        worked=turn.worked,
        workspace=turn.workspace_id,
        **({"unread": 0} if read else {}),
    )
    if following.budgets and turn.attempt:
        budgets.settle_earlier(turn)
    claim = Claim(
        session_id=session.pk,
        turn_id=turn.pk,
        attempt=attempt,
        owner_id=session.owner_id,
        agent=session.current_agent,
        spent=spent,
        is_first_step=not turn.steps and subtask is None,
        is_repeat=bool(following.begun),
        retry_wait=turn.retry_wait.total_seconds(),
        is_completion=session.is_completion,
        awaits_title=session.awaits_title and not session.is_completion,
        budgets=following.budgets,
        own_keys=following.own_keys,
        task=task,
    )
    payload = {"attempt": attempt, "model": turn.model, "agent": session.current_agent, "mode": session.mode}
    payload["replaces"] = replaced
    if read:
        payload["reads"] = [str(message_id) for message_id in read]
    events = log.append(session, [*new, turn_event(EventKind.TURN_STARTED, turn.pk, attempt, **payload)])
    if read:
        mark_read(read, events[-1].number, subtask)
    return claim, Change(events=events)


def turn_limits() -> Limits:
    """Return what one turn may use."""
    return Limits(seconds=settings.CODELAB_TURN_TIMEOUT, dollars=settings.CODELAB_TURN_DOLLARS)


def renew(leases: Iterable[Attempt]) -> set[Attempt]:
    """Renew the leases of attempts. Return the attempts that no longer hold their turn.

    Waits for nothing: a turn that another transaction has locked keeps its lease, and is renewed the next time.
    """
    attempts = list(leases)
    if not attempts:
        return set()
    turn_ids, numbers = zip(*attempts, strict=True)
    return set(prepared(_RENEW, list(turn_ids), list(numbers), LEASE_DURATION))


def complete(claim: Claim, result: StepResult) -> Change:
    """Store the answer and complete the turn, or its current sub-task. Raises StaleAttempt."""
    with atomic():
        session, turn = lock_claim(claim)
        subtask = turn.subtask
        fields = count_step(turn, result, subtask)
        next_step = plans.finish(session, subtask, Status.COMPLETED, result.text) if subtask else None
        # The text that ends the turn is for the user, whichever agent wrote it.
        of_plan = next_step and next_step.has_more_work
        events = store_step(session, turn, result, agent=claim.agent, subtask=subtask if of_plan else None)
        ledger.record(claim, session, turn, result.calls, purpose=result.purpose, answer=result.message_id)
        last_events, ready = finish_or_continue(session, turn, fields, next_step)
    if ready != turn.pk:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events + last_events, ready=ready)


def fail(
    claim: Claim,
    *,
    code: str,
    text: str,
    result: StepResult | None = None,
    retry_after: int | None = None,
    context: Mapping[str, int] | None = None,
) -> Change:
    """End the turn with an error code and a sentence for the user. Raises StaleAttempt.

    The text of `result` is kept. The user may try again after `retry_after` seconds. `context` says by how many tokens
    a conversation is too long (`used`, `window`).
    """
    with atomic():
        session, turn = lock_claim(claim)
        events: list[LoggedEvent] = []
        answer = None
        if result and (result.text or result.reasoning):
            answer, subtask = result.message_id, turn.subtask
            events += store_step(session, turn, result, agent=claim.agent, interrupted=True, subtask=subtask)
        if result:
            ledger.record(claim, session, turn, result.calls, purpose=result.purpose, error_code=code, answer=answer)
        use = count_use(turn, result)
        events += end_as_failed(session, turn, code, text, retry_after, use=use, context=context)
        ready = next_ready_turn(session)
    metrics.turn_ended(turn, TurnStatus.FAILED, code)
    return Change(events=events, ready=ready)


def cancel(session_id: uuid.UUID, turn_id: uuid.UUID | None, *, deadline: float = math.inf) -> Change:
    """Cancel a turn in any open state, and the plan that it carries out. Raises NothingToCancel and TooLate.

    Without an id this is the active turn, else the next one, else a plan that waits for its user's next message.
    Nothing can follow the event of the cancellation, because the worker's writes fail from here on. Text that clients
    have seen is kept.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        turns = session.turns.filter(status__in=OPEN_STATUSES).order_by("position")
        turn = (turns.filter(pk=turn_id) if turn_id else turns).first()
        if turn is None:
            new = [] if turn_id else plans.cancel(session)
            if not new:
                raise NothingToCancel
            return Change(events=log.append(session, new))
        events = end_as_cancelled(session, turn)
        ready = next_ready_turn(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def release(claim: Claim, result: StepResult | None = None) -> Change:
    """Return a running turn to the queue, because this worker stops. Another worker repeats the step.

    `result` has the model calls of the step so far. Raises StaleAttempt.
    """
    with atomic():
        session, turn = lock_claim(claim)
        if result:
            ledger.record(claim, session, turn, result.calls, purpose=result.purpose, outcome=ModelCallOutcome.LOST)
        else:
            ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
        events = requeue(session, turn, claim.attempt)
    return Change(events=events, ready=turn.pk)


def assign_agent(claim: Claim, choice: AgentChoice) -> tuple[Claim, Change]:
    """Store the choice of an agent. Return the claim with that agent. Raises StaleAttempt."""
    route = choice.route
    with atomic():
        session, turn = lock_claim(claim)
        if choice.calls:
            ledger.record(claim, session, turn, choice.calls, purpose=ModelCallPurpose.ROUTING)
        if route is None:
            return claim, Change()
        new = switch_agent(session, route.agent, reason=route.reason, confidence=str(route.confidence), turn_id=turn.pk)
        events = log.append(session, [replace(new, attempt=claim.attempt)])
        model, _ = role_of(route.agent).choose_models(settings.CODELAB_MODEL)
        if model != turn.model:
            Turn.objects.filter(pk=turn.pk).update(model=model)
    return replace(claim, agent=route.agent), Change(events=events)
