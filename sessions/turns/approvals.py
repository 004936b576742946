"""People's answers to the question whether a call may run: each is given once, and covers exactly what was shown.

One transaction for each verb, under the session's lock; the first answer wins, whichever door it comes through.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from agents import approvals
from agents.policy import Verdict
from sessions.database import atomic_until
from sessions.errors import ToolCallRejected
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import Approval, ApprovalStatus, Plan, PlanStatus, Session, ToolCall, ToolCallStatus, Via
from sessions.protocol import ErrorCode
from sessions.results import Change
from sessions.turns import plans
from sessions.turns.tool_calls import finish_call, open_call, resolve_approval
from sessions.turns.tool_policy import judge_edit

REJECTED = "User rejected this operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person says to a call that waits for approval."""

    approve: bool
    #: Other arguments to run it with; only with `approve`.
    arguments: dict[str, Any] | None = None
    #: What the model is told with a rejection.
    feedback: str = ""
    #: Who answers, and by which door.
    by: int | None
    via: Via


def decide(session_id: uuid.UUID, call_id: str, answer: Decision, *, deadline: float = math.inf) -> Change:
    """Answer the approval of a call. Raises ToolCallRejected when there is none to answer, and TooLate."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        return _decided(session, _asked(session, call_id), answer)


def decide_plan(session_id: uuid.UUID, plan_id: str, answer: Decision, *, deadline: float = math.inf) -> Change:
    """Answer the approval of a plan; of edited arguments the others stay as they are. Raises what `decide` raises."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        known = _uuid(plan_id)
        plan = Plan.objects.filter(session=session, pk=known).select_related("call").first() if known else None
        if plan is None:
            raise ToolCallRejected(ErrorCode.UNKNOWN_PLAN, f"No plan found with id={plan_id}.")
        if plan.status != PlanStatus.DRAFT:
            raise ToolCallRejected(ErrorCode.APPROVAL_DECIDED, f"The plan is {plan.status} and waits for no decision.")
        if answer.arguments is not None:
            answer = replace(answer, arguments={**plan.call.arguments, **answer.arguments})
        return _decided(session, _asked(session, plan.call.call_id), answer)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def decide_all(
    session_id: uuid.UUID, call_ids: Sequence[str] | None, answer: Decision, *, deadline: float = math.inf
) -> Change:
    """Answer several approvals, or all that are pending: all of them or none. Raises what `decide` raises."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        wanted = pending(session_id).values_list("call__call_id", flat=True) if call_ids is None else call_ids
        events: list[LoggedEvent] = []
        ready: uuid.UUID | None = None
        for call_id in wanted:
            change = _decided(session, _asked(session, call_id), answer)
            events, ready = events + change.events, ready or change.ready
    return Change(events=events, ready=ready)


def expire(approval_id: uuid.UUID) -> Change:
    """Reject a call that nobody has answered in time. Does nothing when somebody has."""
    late = Approval.objects.filter(pk=approval_id, expires_at__lt=timezone.now(), status=ApprovalStatus.PENDING)
    found = late.values_list("call__turn__session_id", "call__call_id").first()
    if found is None:
        return Change()
    with atomic_until(math.inf):
        try:
            session = log.lock(found[0])
            call = _asked(session, found[1])
        except (Session.DoesNotExist, ToolCallRejected):
            return Change()
        events = resolve_approval(session, call, ApprovalStatus.EXPIRED, via=Via.DEADLINE, by=None)
        text = "Error: nobody approved this in time, so it was not run."
        change = finish_call(session, call, ToolCallStatus.REJECTED, text)
        events += change.events
        if call.tool == plans.PROPOSAL:
            events += log.append(session, plans.cancel(session))
    return Change(events=events, ready=change.ready)


def pending(session_id: uuid.UUID) -> Any:
    """Return the approvals of a session that wait for an answer, the oldest first, with their calls."""
    rows = Approval.objects.filter(call__turn__session_id=session_id, status=ApprovalStatus.PENDING)
    return rows.select_related("call").order_by("created_at", "pk")


def expired_approvals() -> list[uuid.UUID]:
    """Return approvals whose time is over."""
    late = Approval.objects.filter(status=ApprovalStatus.PENDING, expires_at__lt=timezone.now())
    return list(late.values_list("pk", flat=True)[:100])


def _asked(session: Session, call_id: str) -> ToolCall:
    call = open_call(session, call_id)
    if call.status != ToolCallStatus.ASKED:
        raise ToolCallRejected(ErrorCode.APPROVAL_DECIDED, f"The tool call `{call_id}` waits for no decision.")
    return call


def _decided(session: Session, call: ToolCall, answer: Decision) -> Change:
    by, via = answer.by, answer.via
    if not answer.approve:
        events = resolve_approval(session, call, ApprovalStatus.REJECTED, via=via, by=by, feedback=answer.feedback)
        text = f"Error: {answer.feedback or REJECTED}"
        change = finish_call(session, call, ToolCallStatus.REJECTED, text)
        events += change.events
        if call.tool == plans.PROPOSAL:
            events += log.append(session, plans.reject(session, call, answer.feedback))
        return Change(events=events, ready=change.ready)
    status = ApprovalStatus.APPROVED
    if answer.arguments is not None:
        decision = judge_edit(session, call, answer.arguments)
        if decision.verdict is Verdict.DENY:
            raise ToolCallRejected(ErrorCode.INVALID_ARGUMENTS, decision.reason)
        status = ApprovalStatus.EDITED
        call.arguments, call.digest = decision.arguments, approvals.digest(call.tool, decision.arguments)
    elif not approvals.is_same(call.approval.digest, call.tool, call.arguments):
        # Only somebody who writes to the database by hand comes here.
        raise ToolCallRejected(ErrorCode.INVALID_ARGUMENTS, "The call is not the one that was shown.")
    call.status = ToolCallStatus.WAITING
    call.save(update_fields=["status", "arguments", "digest"])
    events = resolve_approval(session, call, status, via=via, by=by)
    if call.tool != plans.PROPOSAL:
        return Change(events=events)
    change = finish_call(session, call, ToolCallStatus.COMPLETED, plans.APPROVED)
    begun = log.append(session, plans.approve(session, call, edited=status == ApprovalStatus.EDITED))
    return Change(events=events + change.events + begun, ready=change.ready)
