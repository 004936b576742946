"""The rows of plans: propose, approve, reject, carry out one sub-task after the other, end.

`agents.plans` decides which changes are allowed. Callers have locked the session and change the turn in the same
transaction, so a crash never separates a plan from its turn. This module never changes a turn and never writes to the
log: it returns the events.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from agents import plans as values
from agents.plans import Status
from agents.roles import routed_roles
from agents.tools import CREATE_PLAN
from sessions.events.log import NewEvent
from sessions.models import (
    ACTIVE_PLANS,
    EventKind,
    Plan,
    PlanStatus,
    Session,
    SubTask,
    SubTaskStatus,
    ToolCall,
    ToolCallStatus,
)
from sessions.turns.current_agent import switch_agent

#: Model calls of one sub-task.
STEP_LIMIT = 20
#: A longer report is shortened in the plan; the messages have all of it.
MAX_RESULT_CHARACTERS = 4000

APPROVED = "The user approved the plan."
USED_UP = f"Not finished after {STEP_LIMIT} model calls."
OUTCOMES = {
    PlanStatus.COMPLETED: "It was carried out.",
    PlanStatus.FAILED: (
        "It failed: the sub-tasks marked [!] and those that wait for them were not done. "
        "Tell the user so, or propose another plan."
    ),
    PlanStatus.CANCELLED: "The user stopped it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What follows a sub-task."""

    events: list[NewEvent]
    #: Another sub-task has begun, or the plan has failed and its proposer continues. Otherwise the turn is over.
    has_more_work: bool


def agents() -> list[str]:
    """Return the names of the agents that a sub-task may name."""
    return [role.name for role in routed_roles()]


def active(session: Session) -> Plan | None:
    """Return the session's plan that waits for approval or is in progress."""
    return Plan.objects.filter(session=session, status__in=ACTIVE_PLANS).select_related("call").first()


def state(plan: Plan) -> dict[str, Any]:
    """Return a plan as clients get it."""
    return {
        "plan_id": str(plan.pk),
        "turn_id": str(plan.call.turn_id),
        "call_id": plan.call.call_id,
        "goal": plan.goal,
        "agent": plan.agent,
        "status": str(plan.status),
        "subtasks": _subtasks(value_of(plan)),
    }


def value_of(plan: Plan) -> values.PlanState:
    """Return a plan as a value of `agents.plans`."""
    return values.PlanState(
        goal=plan.goal,
        subtasks=tuple(
            values.SubTaskState(
                id=row.key,
                description=row.description,
                agent=row.agent,
                dependencies=tuple(row.dependencies),
                estimated_time=row.estimated_time or None,
                status=Status(row.status),
                result=row.result,
            )
            for row in plan.subtasks.order_by("position")
        ),
    )


def report(plan: Plan) -> str:
    """Return the outcome of a plan for the model that proposed it."""
    outcome = OUTCOMES.get(PlanStatus(plan.status), "")
    return f"{APPROVED} {outcome}\n\n{values.format_progress(value_of(plan))}"


# Before and at the decision


def propose(session: Session, calls: Sequence[ToolCall]) -> list[NewEvent]:
    """Store a plan for each call that proposes one and waits for approval. A new plan replaces an active one."""
    events: list[NewEvent] = []
    for call in calls:
        if call.tool == CREATE_PLAN and call.status == ToolCallStatus.ASKED:
            events += cancel(session)
            plan = Plan.objects.create(session=session, call=call, agent=call.agent)
            _write(plan, call)
            events.append(NewEvent(kind=EventKind.PLAN_PROPOSED, turn_id=call.turn_id, payload=state(plan)))
    return events


def approve(session: Session, call: ToolCall, *, edited: bool) -> list[NewEvent]:
    """Start a plan that the user has approved, with the call's arguments if they were edited."""
    plan = call.plan
    if edited:
        _write(plan, call)
    plan.status, plan.approved_at = PlanStatus.IN_PROGRESS, timezone.now()
    plan.save(update_fields=["status", "approved_at"])
    details = {"goal": plan.goal, "subtasks": _subtasks(value_of(plan))} if edited else {}
    return [_decision_event(plan, "edit" if edited else "approve", **details), *_start_next(session, plan).events]


def reject(session: Session, call: ToolCall, feedback: str) -> list[NewEvent]:
    """Cancel a plan that the user has rejected."""
    return [_decision_event(call.plan, "reject", feedback=feedback), *cancel(session)]


def _decision_event(plan: Plan, decision: str, **details: Any) -> NewEvent:
    ids = {"plan_id": str(plan.pk), "turn_id": str(plan.call.turn_id), "call_id": plan.call.call_id}
    payload = {**ids, "decision": decision, **details}
    return NewEvent(kind=EventKind.PLAN_DECIDED, turn_id=plan.call.turn_id, payload=payload)


def _write(plan: Plan, call: ToolCall) -> None:
    """Store the goal and the sub-tasks in the call's arguments, which the policy has accepted."""
    value = values.parse(call.arguments, agents=agents())
    plan.goal = value.goal
    plan.save(update_fields=["goal"])
    plan.subtasks.all().delete()
    SubTask.objects.bulk_create(
        SubTask(
            plan=plan,
            key=subtask.id,
            position=position,
            description=subtask.description,
            agent=subtask.agent,
            dependencies=list(subtask.dependencies),
            estimated_time=subtask.estimated_time or "",
        )
        for position, subtask in enumerate(value.subtasks)
    )


# In progress


def finish(session: Session, subtask: SubTask, status: Status, result: str) -> NextStep:
    """End the current sub-task, and start the next one or end the plan."""
    text = result if len(result) <= MAX_RESULT_CHARACTERS else result[:MAX_RESULT_CHARACTERS] + " …"
    ended = _change_subtask(subtask.plan, subtask.key, status, text)
    next_step = _start_next(session, subtask.plan)
    return replace(next_step, events=[ended, *next_step.events])


def give_up(session: Session, subtask: SubTask | None) -> list[NewEvent]:
    """Fail the current sub-task if it has used up its steps. Return the events, empty if it has not."""
    if subtask is None or subtask.steps < STEP_LIMIT:
        return []
    return finish(session, subtask, Status.FAILED, USED_UP).events


def cancel(session: Session, *, only_draft: bool = False) -> list[NewEvent]:
    """Cancel the active plan, if any; with `only_draft` only one that waits for approval. Return the events."""
    plan = active(session)
    if plan is None or (only_draft and plan.status != PlanStatus.DRAFT):
        return []
    events = [
        _change_subtask(plan, key, Status.SKIPPED)
        for key in plan.subtasks.filter(status=SubTaskStatus.IN_PROGRESS).values_list("key", flat=True)
    ]
    return events + _end(session, plan, PlanStatus.CANCELLED)


def _start_next(session: Session, plan: Plan) -> NextStep:
    """Start the next ready sub-task, or end the plan."""
    value = value_of(plan)
    if ready := values.ready_subtasks(value):
        subtask = ready[0]
        started = _change_subtask(plan, subtask.id, Status.IN_PROGRESS)
        reason = f"Sub-task {subtask.id} of the plan"
        return NextStep(events=[started, *_hand_over(session, subtask.agent, reason)], has_more_work=True)
    status = PlanStatus.COMPLETED if values.is_complete(value) else PlanStatus.FAILED
    return NextStep(events=_end(session, plan, status), has_more_work=status == PlanStatus.FAILED)


def _change_subtask(plan: Plan, key: str, status: Status, result: str = "") -> NewEvent:
    """Change the status of a sub-task. Raises agents.plans.PlanError for an invalid change."""
    subtask = values.transition(value_of(plan), key, status, result=result)[key]
    time = "started_at" if status is Status.IN_PROGRESS else "finished_at"
    fields = {"status": status.value, "result": result}
    plan.subtasks.filter(key=key).update(**fields, **{time: timezone.now()})
    payload = {"plan_id": str(plan.pk), "subtask_id": key, "agent": subtask.agent, **fields}
    return NewEvent(kind=EventKind.PLAN_UPDATED, payload=payload)


def _end(session: Session, plan: Plan, status: PlanStatus) -> list[NewEvent]:
    plan.status, plan.finished_at = status, timezone.now()
    plan.save(update_fields=["status", "finished_at"])
    statuses = [subtask.status for subtask in value_of(plan).subtasks]
    payload = {
        "plan_id": str(plan.pk),
        "turn_id": str(plan.call.turn_id),
        "status": str(status),
        "total": len(statuses),
        "completed": statuses.count(Status.COMPLETED),
        "failed": statuses.count(Status.FAILED),
    }
    handover = _hand_over(session, plan.agent, f"The plan is over: {status}") if plan.approved_at else []
    return [*handover, NewEvent(kind=EventKind.PLAN_FINISHED, payload=payload)]


def _hand_over(session: Session, agent: str, reason: str) -> list[NewEvent]:
    if agent == session.current_agent:
        return []
    # Without the turn id, because the limit of changes in a turn counts only those that its model requested.
    return [switch_agent(session, agent, reason=reason, confidence="high", pinned=session.pinned)]


def _subtasks(value: values.PlanState) -> list[dict[str, Any]]:
    return [
        {
            "id": subtask.id,
            "description": subtask.description,
            "agent": subtask.agent,
            "dependencies": list(subtask.dependencies),
            "status": subtask.status.value,
            "result": subtask.result,
            **({"estimated_time": subtask.estimated_time} if subtask.estimated_time else {}),
        }
        for subtask in value.subtasks
    ]
