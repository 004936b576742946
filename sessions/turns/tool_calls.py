"""The tools that a model asks for: judged, journaled, run by the client or here, and answered once.

One transaction for each verb. A turn whose tools are out holds no worker, thread or connection. What was refused goes
back to the model as the call's result, so that it can do something else; nothing that was refused is ever shown to a
client as a call to run.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from agents.plans import Status
from llm.types import ModelToolCall
from sessions import metrics
from sessions.billing import ledger
from sessions.database import atomic_until
from sessions.errors import ToolCallRejected
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    OPEN_CALLS,
    Approval,
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
from sessions.protocol import ErrorCode
from sessions.results import Change, Claim, StepResult
from sessions.turns import plans, server_tools
from sessions.turns.tool_policy import evaluate, new_approvals
from sessions.turns.transcript import current_subtask, make_call_ids_unique, store_result, store_step
from sessions.turns.transitions import count_step, finish_or_continue, lock_claim, transition, turn_event


def request_tools(
    claim: Claim, result: StepResult, asked: Sequence[ModelToolCall], broken: Mapping[str, str] | None = None
) -> Change:
    """Store the step and its tool calls. Raises StaleAttempt.

    The turn waits while a call is out or a person is asked; it goes on at once when all have their results already,
    and ends when the model said that it is done or asked the user something. In a plan being done ends the sub-task.
    """
    with transaction.atomic():
        session, turn = lock_claim(claim)
        subtask = current_subtask(session)
        calls = evaluate(session, claim.agent, asked, broken or {}, subtask)
        make_call_ids_unique(session, calls)
        wire = [{"id": call.call_id, "name": call.tool, "arguments": call.arguments} for call in calls]
        events = store_step(session, turn, result, tool_calls=wire, subtask=subtask)
        for call in calls:
            call.turn = turn
        ledger.record(claim, session, turn, result.calls, has_tool_calls=True)
        said = server_tools.run_server_tools(session, turn, calls)
        ToolCall.objects.bulk_create(calls)
        Approval.objects.bulk_create(new_approvals(calls))
        new = [*said.events, *map(request_event, filter(_is_open, calls)), *plans.propose(session, calls)]
        events += log.append(session, new)
        for call in calls:
            if not _is_open(call):
                events += _store_result(session, call, subtask)
        fields = count_step(turn, result, subtask)
        ready = _go_on(session, turn, events, said, fields=fields, waits=any(map(_is_open, calls)), subtask=subtask)
    if events[-1].kind == EventKind.TURN_COMPLETED:
        metrics.turn_ended(turn, TurnStatus.COMPLETED)
    return Change(events=events, ready=ready)


def record_tool_result(
    session_id: uuid.UUID, call_id: str, *, content: str, failed: bool, deadline: float = math.inf
) -> Change:
    """Take the result of a tool once; the last one of a turn queues it again. Raises ToolCallRejected and TooLate.

    A client that asked its user itself sends the result of a call that nobody has approved here yet: then the result
    is the approval, and an error is the rejection.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        call = open_call(session, call_id)
        if call.tool == plans.PROPOSAL:
            text = "A plan is no tool that a client runs: answer it with `plan_decision` or `hitl_decision`."
            raise ToolCallRejected(ErrorCode.UNKNOWN_TOOL_CALL, text)
        events: list[LoggedEvent] = []
        if call.status == ToolCallStatus.ASKED:
            status = ApprovalStatus.REJECTED if failed else ApprovalStatus.APPROVED
            events += resolve_approval(
                session, call, status, via=Via.RESULT, by=session.owner_id, feedback=content if failed else ""
            )
            finish = ToolCallStatus.REJECTED if failed else ToolCallStatus.COMPLETED
        else:
            finish = ToolCallStatus.FAILED if failed else ToolCallStatus.COMPLETED
        change = finish_call(session, call, finish, content)
    return Change(events=events + change.events, ready=change.ready)


def open_call(session: Session, call_id: str) -> ToolCall:
    """Return a call of the locked session that has no result yet. Raises ToolCallRejected."""
    call = (
        ToolCall.objects.filter(turn__session=session, call_id=call_id)
        .select_related("turn", "approval")
        .order_by("-created_at")
        .first()
    )
    if call is None:
        raise ToolCallRejected(ErrorCode.UNKNOWN_TOOL_CALL, f"There is no tool call `{call_id}` in this session.")
    if call.status not in OPEN_CALLS or call.turn.status != TurnStatus.WAITING:
        raise ToolCallRejected(ErrorCode.TOOL_CALL_FINISHED, f"The tool call `{call_id}` has its result already.")
    return call


def resolve_approval(
    session: Session, call: ToolCall, status: ApprovalStatus, *, via: Via, by: int | None, feedback: str = ""
) -> list[LoggedEvent]:
    """Answer the approval of a call that the caller has locked; return the event that tells of it."""
    approval = call.approval
    approval.status, approval.via, approval.decided_by_id = status, via, by
    approval.digest, approval.feedback, approval.decided_at = call.digest, feedback, timezone.now()
    approval.save()
    payload = {
        "turn_id": str(call.turn_id),
        "call_id": call.call_id,
        "status": str(status),
        "via": str(via),
        "tool": call.tool,
        "arguments": call.arguments,
    }
    return log.append(session, [turn_event(EventKind.APPROVAL_DECIDED, call.turn_id, payload)])


def finish_call(session: Session, call: ToolCall, status: ToolCallStatus, content: str) -> Change:
    """Give a call of the locked session its result, and queue its turn when that was the last one."""
    call.status, call.result, call.finished_at = status, content, timezone.now()
    call.save(update_fields=["status", "result", "finished_at"])
    # No sub-task begins or ends while a call is open, so it is still the one that asked for this.
    events = _store_result(session, call, current_subtask(session))
    turn = call.turn
    if turn.tool_calls.filter(status__in=OPEN_CALLS).exists():
        return Change(events=events)
    transition(turn, TurnStatus.QUEUED, waiting_since=None)
    events += log.append(session, [turn_event(EventKind.TURN_QUEUED, turn.pk, {"turn_id": str(turn.pk)})])
    return Change(events=events, ready=turn.pk)


def request_event(call: ToolCall) -> NewEvent:
    """Return the event that offers a call to the clients, or asks a person for it."""
    payload = {
        "turn_id": str(call.turn_id),
        "call_id": call.call_id,
        "tool": call.tool,
        "arguments": call.arguments,
        "requires_approval": call.status == ToolCallStatus.ASKED,
        "agent": call.agent,
        "rule": call.rule,
        "reason": call.reason,
    }
    return turn_event(EventKind.TOOL_CALL_REQUESTED, call.turn_id, payload, call.turn.attempt)


def _is_open(call: ToolCall) -> bool:
    return call.status in OPEN_CALLS


def _store_result(session: Session, call: ToolCall, subtask: SubTask | None) -> list[LoggedEvent]:
    payload = {"turn_id": str(call.turn_id), "call_id": call.call_id, "status": str(call.status)}
    finished = turn_event(EventKind.TOOL_CALL_FINISHED, call.turn_id, payload)
    return store_result(session, call.turn_id, call.call_id, call.result, subtask=subtask, behind=[finished])


def _go_on(
    session: Session,
    turn: Turn,
    events: list[LoggedEvent],
    said: server_tools.ToolOutcomes,
    *,
    fields: dict[str, Any],
    waits: bool,
    subtask: SubTask | None,
) -> uuid.UUID | None:
    """Move the turn to what comes after its calls; adds the events, returns the turn that is ready now."""
    name = {"turn_id": str(turn.pk)}
    attempt = turn.attempt
    if waits:
        transition(turn, TurnStatus.WAITING, waiting_since=timezone.now(), **fields)
        events += log.append(session, [turn_event(EventKind.TURN_WAITING, turn.pk, name, attempt)])
        return None
    if said.last_words is None:
        transition(turn, TurnStatus.QUEUED, **fields)
        events += log.append(session, [turn_event(EventKind.TURN_QUEUED, turn.pk, name, attempt)])
        return turn.pk
    done = None if said.asks else subtask
    course = plans.finish(session, done, Status.COMPLETED, said.last_words) if done else None
    # In the middle of a plan they are a report to the agents that come next.
    if said.last_words and not (course and course.goes_on):
        events += store_step(session, turn, StepResult(message_id=new_id(), text=said.last_words))
    moved, ready = finish_or_continue(session, turn, fields, course)
    events += moved
    return ready


def open_calls(session_id: uuid.UUID) -> QuerySet[ToolCall]:
    """Return the session's tool calls that have no result, in the order in which they were asked for."""
    calls = ToolCall.objects.filter(turn__session_id=session_id, turn__status=TurnStatus.WAITING, status__in=OPEN_CALLS)
    return calls.order_by("created_at", "pk")
