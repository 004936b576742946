"""The tool calls of a model: evaluated, stored, run by the client or the server, and answered once.

One transaction for each verb. A turn that waits for tools holds no worker, thread or connection. A refused call goes
back to the model with an error as its result, and is never sent to a client.
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from agents import results
from agents.plans import Status
from agents.tools import CREATE_PLAN, TOOLS, ToolKind
from llm.types import ModelToolCall
from sessions import metrics
from sessions.billing import ledger
from sessions.database import atomic_until
from sessions.errors import ToolCallRejected
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    OPEN_CALLS,
    ApprovalStatus,
    EventKind,
    Session,
    SubTask,
    ToolCall,
    ToolCallStatus,
    Turn,
    TurnStatus,
    Via,
    new_id,
)
from sessions.protocol.codes import ErrorCode
from sessions.results import Change, Claim, StepResult, ToolOutput
from sessions.statements import NOW, atomic, insert, save
from sessions.turns import plans, provider_fields
from sessions.turns.images import message_images
from sessions.turns.rows import call_with_turn, current_subtask, lock_call
from sessions.turns.server_tools import ToolOutcomes, run_server_tools
from sessions.turns.tool_policy import Basis, basis_of, evaluate, new_approvals, shown_digest
from sessions.turns.transcript import (
    defined,
    displayed,
    make_call_ids_unique,
    require_progress,
    store_last_words,
    store_result,
    store_step,
)
from sessions.turns.transitions import count_step, finish_or_continue, lock_claim, requeue, transition, turn_event

#: Follows the result of a call that its user does not let run again.
UNKNOWN_RESULT = "It is not known whether an earlier run of this call had an effect. Check before you go on."


def request_tools(
    claim: Claim,
    result: StepResult,
    requested: Sequence[ModelToolCall],
    broken: Mapping[str, str] | None = None,
    basis: Basis | None = None,
) -> Change:
    """Store the step and its tool calls. Raises StaleAttempt, and LimitReached for a model that repeats itself.

    `broken` are unreadable calls with the error for the model. The turn waits for open calls, else it is queued again.
    It ends when the model has completed its task or asks the user a question; in a plan, completing the task ends the
    sub-task.

    `basis` is what the prompt was built from. The calls are judged by it before the session is locked, and once more
    when the user has changed the mode or the rules since.
    """
    change = None
    while change is None:
        calls = evaluate(claim.agent, requested, broken or {}, basis) if basis else []
        with atomic():
            session, turn = lock_claim(claim, [call.id for call in requested])
            if (now := basis_of(session, claim.agent, turn.subtask, turn.rules)) == basis:
                change = _store_calls(claim, turn, result, requested, calls)
            basis = now
    if change.events[-1].kind == EventKind.TURN_COMPLETED:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return change


def _store_calls(
    claim: Claim, turn: Turn, result: StepResult, requested: Sequence[ModelToolCall], calls: Sequence[ToolCall]
) -> Change:
    session, subtask = turn.session, turn.subtask
    require_progress(turn, [call.digest for call in calls], turn.newest_calls)
    of_calls = [call.extra for call in requested]
    make_call_ids_unique(calls, turn.existing_calls)
    wire = [{"id": call.call_id, "name": call.tool, "arguments": call.arguments} for call in calls]
    extras = {call.call_id: extra for call, extra in zip(calls, of_calls, strict=True)}
    of_step: dict[str, Any] = {"agent": claim.agent, "subtask": subtask}
    of_step["provider_fields"] = provider_fields.pack(result, extras)
    events = store_step(session, turn, result, tool_calls=wire, **of_step)
    for call in calls:
        call.turn = turn
    ledger.record(claim, session, turn, result.calls, has_tool_calls=True, answer=result.message_id)
    outcomes = run_server_tools(session, turn, calls)
    insert(*calls, *new_approvals(calls))
    open_requests = [request_event(call) for call in calls if call.status in OPEN_CALLS]
    events += log.append(session, [*outcomes.events, *open_requests, *plans.propose(session, calls)])
    for call in calls:
        if call.status not in OPEN_CALLS:
            events += _store_result(session, call, subtask)
    fields = count_step(turn, result, subtask)
    if open_requests:
        transition(turn, TurnStatus.WAITING, waiting_since=NOW, **fields)
        return Change(events=events + log.append(session, [turn_event(EventKind.TURN_WAITING, turn.pk, turn.attempt)]))
    last_words = replace(result, message_id=new_id(), text=outcomes.last_words or "", reasoning="")
    last_events, ready = _continue_turn(
        session, turn, outcomes, fields, subtask=subtask, last_words=(claim.agent, last_words)
    )
    return Change(events=events + last_events, ready=ready)


def record_tool_result(
    session_id: uuid.UUID, call_id: str, *, content: str, failed: bool, deadline: float = math.inf
) -> Change:
    """Store a text as the result of a tool call, which the model gets as it is. Raises what `record_output` raises."""
    output = ToolOutput(text=content, failed=failed, has_run=not failed)
    return record_output(session_id, call_id, output, deadline=deadline, shown_characters=len(content))


def record_output(
    session_id: uuid.UUID,
    call_id: str,
    output: ToolOutput,
    *,
    deadline: float = math.inf,
    shown_characters: int = results.MAX_SHOWN_CHARACTERS,
) -> Change:
    """Store the result of a tool call; the last result of a turn queues it again.

    Raises ToolCallRejected and TooLate, and Rejected for an image that the session does not have.

    Some clients ask their user themselves and send the result of a call whose approval is pending. That result
    approves the call, and an error rejects it.
    """
    with atomic_until(deadline):
        session, locked = lock_call(session_id, call_id)
        call = _require_open(locked, call_id)
        if call.tool == CREATE_PLAN:
            text = "Clients do not run plans. Answer this one with `plan_decision` or `hitl_decision`."
            raise ToolCallRejected(ErrorCode.UNKNOWN_TOOL_CALL, text)
        events: list[LoggedEvent] = []
        images = message_images(session, output.images)
        content = output.text
        status = ToolCallStatus.FAILED if output.failed else ToolCallStatus.COMPLETED
        if call.status == ToolCallStatus.ASKED:
            decision = ApprovalStatus.APPROVED if output.has_run else ApprovalStatus.REJECTED
            feedback = "" if output.has_run else content
            events += resolve_approval(session, call, decision, via=Via.RESULT, by=session.owner_id, feedback=feedback)
            if not output.has_run:
                status, content = rejected(call, content)
        call.facts = results.facts_for(_kind(call), output.facts) or None
        shown = results.cut_middle(content, shown_characters)
        change = finish_call(session, call, status, content, shown=shown, images=images, is_current=True)
    return Change(events=events + change.events, ready=change.ready)


def rejected(call: ToolCall, content: str) -> tuple[ToolCallStatus, str]:
    """Return the status of a call that the user refuses, and what the model is told."""
    if call.unknown_since is None:
        return ToolCallStatus.REJECTED, content
    return ToolCallStatus.UNKNOWN, f"{content}\n{UNKNOWN_RESULT}"


def open_call(session: Session, call_id: str) -> ToolCall:
    """Return a call of the locked session that has no result yet. Raises ToolCallRejected."""
    return _require_open(call_with_turn(session, call_id), call_id)


def _require_open(call: ToolCall | None, call_id: str) -> ToolCall:
    if call is None:
        raise ToolCallRejected(ErrorCode.UNKNOWN_TOOL_CALL, f"Tool call `{call_id}` does not exist in this session.")
    if call.status not in OPEN_CALLS or call.turn.status != TurnStatus.WAITING:
        raise ToolCallRejected(ErrorCode.TOOL_CALL_FINISHED, f"Tool call `{call_id}` already has a result.")
    return call


def resolve_approval(
    session: Session, call: ToolCall, status: ApprovalStatus, *, via: Via, by: int | None, feedback: str = ""
) -> list[LoggedEvent]:
    """Store the decision about a call in a locked session. Return its event."""
    approval = call.approval
    approval.status, approval.via, approval.decided_by_id = status, via, by
    approval.digest, approval.feedback, approval.decided_at = shown_digest(call), feedback, timezone.now()
    approval.save()
    # Clients know no withdrawn approvals: to them the call was rejected.
    told = ApprovalStatus.REJECTED if status == ApprovalStatus.WITHDRAWN else status
    details = {"status": str(told), "via": str(via), "tool": call.tool, "arguments": call.arguments}
    details |= displayed(call.arguments)
    return log.append(session, [turn_event(EventKind.APPROVAL_DECIDED, call.turn_id, call_id=call.call_id, **details)])


def finish_call(
    session: Session,
    call: ToolCall,
    status: ToolCallStatus,
    content: str,
    *,
    shown: str | None = None,
    images: Sequence[Mapping[str, Any]] = (),
    is_current: bool = False,
) -> Change:
    """Store the result of a call in a locked session, and queue its turn when no other call is open.

    The model gets `shown` where that is shorter, and the images. With `is_current` nothing has changed since
    `open_call` has read the call.
    """
    call.status, call.result, call.finished_at = status, content, timezone.now()
    save(call, "status", "result", "facts", "finished_at")
    # No sub-task begins or ends while a call is open, so the current one has requested it.
    subtask = call.turn.subtask if is_current else current_subtask(session)
    events = _store_result(session, call, subtask, shown=shown, images=images)
    turn = call.turn
    if call.has_open_neighbours if is_current else turn.tool_calls.filter(status__in=OPEN_CALLS).exists():
        return Change(events=events)
    return Change(events=events + requeue(session, turn, waiting_since=None), ready=turn.pk)


def request_event(call: ToolCall) -> NewEvent:
    """Return the event that offers a call to clients, or requests its approval."""
    unknown = {"unknown": True} if call.unknown_since else {}
    return turn_event(
        EventKind.TOOL_CALL_REQUESTED,
        call.turn_id,
        call.turn.attempt,
        call_id=call.call_id,
        tool=call.tool,
        arguments=call.arguments,
        requires_approval=call.status == ToolCallStatus.ASKED,
        agent=call.agent,
        rule=call.rule,
        reason=call.reason,
        **displayed(call.arguments),
        **defined(call),
        **unknown,
    )


def _store_result(
    session: Session,
    call: ToolCall,
    subtask: SubTask | None,
    *,
    shown: str | None = None,
    images: Sequence[Mapping[str, Any]] = (),
) -> list[LoggedEvent]:
    facts = {"call_id": call.call_id, "status": str(call.status), **(call.facts or {})}
    finished = turn_event(EventKind.TOOL_CALL_FINISHED, call.turn_id, **facts)
    content = call.result if shown is None else shown
    return store_result(session, call.turn_id, call.call_id, content, subtask=subtask, before=[finished], images=images)


def _kind(call: ToolCall) -> ToolKind | None:
    if call.definition:
        return ToolKind(call.definition["kind"])
    return TOOLS[call.tool].kind if call.tool in TOOLS else None


def _continue_turn(
    session: Session,
    turn: Turn,
    outcomes: ToolOutcomes,
    fields: dict[str, Any],
    *,
    subtask: SubTask | None,
    last_words: tuple[str, StepResult],
) -> tuple[list[LoggedEvent], uuid.UUID | None]:
    """Queue or complete a turn whose calls all have results. Return the events and the ready turn.

    `last_words` are the agent, and the text of the server's tools as its answer.
    """
    if outcomes.last_words is None:
        return requeue(session, turn, turn.attempt, **fields), turn.pk
    events: list[LoggedEvent] = []
    next_step = None
    if subtask and not outcomes.is_question:
        next_step = plans.finish(session, subtask, Status.COMPLETED, outcomes.last_words)
    # While the plan continues, they are a report to the agents of later sub-tasks.
    if outcomes.last_words and not (next_step and next_step.has_more_work):
        events += store_last_words(session, turn, *last_words)
    last_events, ready = finish_or_continue(session, turn, fields, next_step)
    return events + last_events, ready


def open_calls(session_id: uuid.UUID) -> QuerySet[ToolCall]:
    """Return the session's tool calls without a result, in the order of the requests."""
    calls = ToolCall.objects.filter(turn__session_id=session_id, turn__status=TurnStatus.WAITING, status__in=OPEN_CALLS)
    return calls.order_by("created_at", "pk")
