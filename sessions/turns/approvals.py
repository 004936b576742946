"""Users' decisions whether a tool call may run. Each is final and covers exactly the call that the user saw.

One transaction for each verb, under the session's lock. The first decision wins, whichever API it comes through. A
call that was changed after it was shown never runs.
"""

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from agents import approvals
from agents.policy import Verdict
from agents.tools import CREATE_PLAN
from sessions.database import atomic_until
from sessions.errors import ToolCallRejected
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import Approval, ApprovalStatus, Plan, PlanStatus, Session, ToolCall, ToolCallStatus, Via
from sessions.protocol.codes import ErrorCode
from sessions.results import Change
from sessions.statements import atomic
from sessions.turns import plans
from sessions.turns.definitions import definitions_of
from sessions.turns.tool_calls import finish_call, open_call, rejected, resolve_approval
from sessions.turns.tool_policy import evaluate_edit
from sessions.turns.transcript import edit_call

REJECTED = "User rejected this operation"
#: How the names of rules begin that allow calls (`Rule.label`).
ALLOWED_BY_RULE = "rule: allow "
#: After an error an approval expires again that much later.
RETRY_PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A user's decision about a call that waits for approval."""

    approve: bool
    #: Edited arguments; only with `approve`.
    arguments: dict[str, Any] | None = None
    #: Reason of a rejection, for the model.
    feedback: str = ""
    #: User who decides, and the API that the decision came through.
    by: int | None
    via: Via


def decide(session_id: uuid.UUID, call_id: str, decision: Decision, *, deadline: float = math.inf) -> Change:
    """Decide whether a call may run. Raises ToolCallRejected when its approval is not pending, and TooLate."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        return _apply(session, _pending_call(session, call_id), decision)


def decide_plan(session_id: uuid.UUID, plan_id: str, decision: Decision, *, deadline: float = math.inf) -> Change:
    """Decide about a plan. Arguments that are not edited stay as they are. Raises the errors of `decide`."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        plan = _plan(session, plan_id)
        if plan is None:
            raise ToolCallRejected(ErrorCode.UNKNOWN_PLAN, f"No plan found with id={plan_id}.")
        if plan.status != PlanStatus.DRAFT:
            raise ToolCallRejected(
                ErrorCode.APPROVAL_DECIDED, f"The plan is {plan.status} and does not wait for a decision."
            )
        if decision.arguments is not None:
            decision = replace(decision, arguments={**plan.call.arguments, **decision.arguments})
        return _apply(session, _pending_call(session, plan.call.call_id), decision)


def _plan(session: Session, plan_id: str) -> Plan | None:
    try:
        return Plan.objects.filter(session=session, pk=uuid.UUID(plan_id)).select_related("call").first()
    except ValueError:
        return None


def decide_all(
    session_id: uuid.UUID, call_ids: Sequence[str] | None, decision: Decision, *, deadline: float = math.inf
) -> Change:
    """Decide about several calls, or all that are pending: about all or none. Raises the errors of `decide`."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        if call_ids is None:
            call_ids = list(pending(session_id).values_list("call__call_id", flat=True))
        events: list[LoggedEvent] = []
        ready: uuid.UUID | None = None
        for call_id in call_ids:
            change = _apply_unless_allowed(session, call_id, decision)
            events, ready = events + change.events, ready or change.ready
    return Change(events=events, ready=ready)


def _apply_unless_allowed(session: Session, call_id: str, decision: Decision) -> Change:
    """Decide about a call. Clients add a rule, then approve the call that it has just approved: that is no error."""
    try:
        call = _pending_call(session, call_id)
    except ToolCallRejected:
        approved = Approval.objects.filter(
            status=ApprovalStatus.APPROVED,
            call__turn__session=session,
            call__call_id=call_id,
            call__rule__startswith=ALLOWED_BY_RULE,
        ).exclude(call__tool=CREATE_PLAN)
        if decision.approve and decision.arguments is None and approved.exists():
            return Change()
        raise
    return _apply(session, call, decision)


def expire(approval_id: uuid.UUID) -> Change:
    """Reject a call whose approval has expired. Does nothing when it is no longer pending or its session is locked."""
    row = _expired().filter(pk=approval_id).values_list("call__turn__session_id", "call__call_id").first()
    if row is None:
        return Change()
    session_id, call_id = row
    with atomic():
        session = log.lock_if_free(session_id)
        if session is None:
            return Change()
        try:
            call = _pending_call(session, call_id)
        except ToolCallRejected:
            return Change()
        text = "Error: the user did not approve this call in time, so it was not run."
        return _end_unanswered(session, call, ApprovalStatus.EXPIRED, text, via=Via.DEADLINE, by=None)


def withdraw(session_id: uuid.UUID, call_id: str, *, by: int | None, via: Via) -> Change:
    """Take the question about a call back: it does not run. Raises ToolCallRejected when it is not pending.

    Clients read that it was rejected, which is what it means to them.
    """
    with atomic():
        session = log.lock(session_id)
        text = "Error: the question whether this call may run was withdrawn, so it was not run."
        return _end_unanswered(session, _pending_call(session, call_id), ApprovalStatus.WITHDRAWN, text, via=via, by=by)


def _end_unanswered(
    session: Session, call: ToolCall, status: ApprovalStatus, text: str, *, via: Via, by: int | None
) -> Change:
    events = resolve_approval(session, call, status, via=via, by=by)
    change = finish_call(session, call, *rejected(call, text))
    events += change.events
    if call.tool == CREATE_PLAN:
        events += log.append(session, plans.cancel(session))
    return Change(events=events, ready=change.ready)


def pending(session_id: uuid.UUID) -> QuerySet[Approval]:
    """Return a session's pending approvals with their calls, the oldest first."""
    return _pending().filter(call__turn__session_id=session_id)


def pending_of(owner_id: int) -> QuerySet[Approval]:
    """Return a user's pending approvals with their calls and sessions, the oldest first."""
    rows = _pending().filter(call__turn__session__owner_id=owner_id, call__turn__session__deleted_at=None)
    return rows.select_related("call__turn__session")


def _pending() -> QuerySet[Approval]:
    rows = Approval.objects.filter(status=ApprovalStatus.PENDING)
    return rows.select_related("call").order_by("created_at", "pk")


def postpone(approval_id: uuid.UUID) -> None:
    """Give an approval that could not be expired another minute, so that it does not keep others waiting."""
    _expired().filter(pk=approval_id).update(expires_at=Now() + RETRY_PAUSE)


def expired_approvals() -> list[uuid.UUID]:
    """Return pending approvals whose deadline has passed, at most 100, the oldest first."""
    return list(_expired().order_by("expires_at").values_list("pk", flat=True)[:100])


def _expired() -> QuerySet[Approval]:
    return Approval.objects.filter(status=ApprovalStatus.PENDING, expires_at__lt=Now())


def _pending_call(session: Session, call_id: str) -> ToolCall:
    call = open_call(session, call_id)
    if call.status != ToolCallStatus.ASKED:
        raise ToolCallRejected(ErrorCode.APPROVAL_DECIDED, f"Tool call `{call_id}` does not wait for a decision.")
    return call


def _apply(session: Session, call: ToolCall, decision: Decision) -> Change:
    if not decision.approve:
        return _reject(session, call, decision)
    _require_same_tool(session, call)
    status = ApprovalStatus.APPROVED
    if decision.arguments is not None:
        result = evaluate_edit(session, call, decision.arguments)
        if result.verdict is Verdict.DENY:
            raise ToolCallRejected(ErrorCode.INVALID_ARGUMENTS, result.reason)
        # Some clients send the arguments of every approval.
        if json.dumps(result.arguments) != json.dumps(call.arguments):
            status, call.edited = ApprovalStatus.EDITED, True
            call.arguments, call.digest = result.arguments, approvals.digest(call.tool, result.arguments)
            edit_call(call)
    elif not approvals.is_same(call.approval.digest, call.tool, call.arguments, call.definition_digest):
        # Only direct writes to the database lead here.
        raise ToolCallRejected(ErrorCode.INVALID_ARGUMENTS, "The call has changed since the user saw it.")
    # A call that became unknown runs again: any client may be shown it.
    call.status, call.unknown_since = ToolCallStatus.WAITING, None
    call.save(update_fields=["status", "arguments", "key_order", "edited", "digest", "unknown_since"])
    events = resolve_approval(session, call, status, via=decision.via, by=decision.by)
    if call.tool != CREATE_PLAN:
        return Change(events=events)
    change = finish_call(session, call, ToolCallStatus.COMPLETED, plans.APPROVED)
    plan_events = log.append(session, plans.approve(session, call, edited=status == ApprovalStatus.EDITED))
    return Change(events=events + change.events + plan_events, ready=change.ready)


def _require_same_tool(session: Session, call: ToolCall) -> None:
    """Raise ToolCallRejected when the client has changed a tool of its own since the user saw the call."""
    if call.definition and (tool := definitions_of(session).get(call.tool)) and tool.digest != call.definition_digest:
        text = f"The client has changed the tool `{call.tool}` since this call. Reject the call."
        raise ToolCallRejected(ErrorCode.INVALID_ARGUMENTS, text)


def _reject(session: Session, call: ToolCall, decision: Decision) -> Change:
    feedback = decision.feedback
    events = resolve_approval(
        session, call, ApprovalStatus.REJECTED, via=decision.via, by=decision.by, feedback=feedback
    )
    change = finish_call(session, call, *rejected(call, f"Error: {feedback or REJECTED}"))
    events += change.events
    if call.tool == CREATE_PLAN:
        events += log.append(session, plans.reject(session, call, feedback))
    return Change(events=events, ready=change.ready)
