"""Plans as they are stored: proposed, decided, carried out one sub-task after the other, ended.

What may follow on what is said by `agents.plans`: its value is read from the rows, moved, and written back. All of this
is called by those who have locked the session, within their transaction, so a plan and its turn move together: whoever
dies leaves both as they were before or both as they are afterwards. Nothing here moves a turn or announces anything;
the events are returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from agents import plans as values
from agents.plans import Status
from agents.roles import routed_roles
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

#: The tool by which a model proposes a plan.
PROPOSAL = "create_plan"
#: Model calls of one sub-task.
STEP_LIMIT = 20
#: Characters of a report that are kept; the messages have all of it.
RESULT_LENGTH = 4000

APPROVED = "The user approved the plan."
USED_UP = f"Not finished after {STEP_LIMIT} model calls."
OUTCOMES = {
    PlanStatus.COMPLETED: "It was carried out.",
    PlanStatus.FAILED: (
        "It failed: what is marked [!], and what waits for it, was not done. Tell the user so, or propose another plan."
    ),
    PlanStatus.CANCELLED: "The user stopped it.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What the end of a sub-task leads to."""

    events: list[NewEvent]
    #: Another one has begun, or the plan has failed and its proposer has the word; otherwise the turn is over.
    goes_on: bool


def agents() -> list[str]:
    """Return the names of the agents that a sub-task may be given to."""
    return [role.name for role in routed_roles()]


def active(session: Session) -> Plan | None:
    """Return the session's plan that waits for its approval or is being carried out."""
    return Plan.objects.filter(session=session, status__in=ACTIVE_PLANS).select_related("call").first()


def state(plan: Plan) -> dict[str, Any]:
    """Return a plan as clients are told of it."""
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
    """Return what `agents.plans` judges."""
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
    """Return what became of a plan, for the model that proposed it."""
    outcome = OUTCOMES.get(PlanStatus(plan.status), "")
    return f"{APPROVED} {outcome}\n\n{values.format_progress(value_of(plan))}"


# Until it is decided


def propose(session: Session, calls: Sequence[ToolCall]) -> list[NewEvent]:
    """Store the plans that are among the calls and wait for an answer; a new one takes the place of an active one."""
    events: list[NewEvent] = []
    for call in calls:
        if call.tool == PROPOSAL and call.status == ToolCallStatus.ASKED:
            events += cancel(session)
            plan = Plan.objects.create(session=session, call=call, agent=call.agent)
            _write(plan, call)
            events.append(NewEvent(kind=EventKind.PLAN_PROPOSED, turn_id=call.turn_id, payload=state(plan)))
    return events


def approve(session: Session, call: ToolCall, *, edited: bool) -> list[NewEvent]:
    """Begin a plan that a person has allowed, with the call's arguments when they were edited."""
    plan = call.plan
    if edited:
        _write(plan, call)
    plan.status, plan.approved_at = PlanStatus.IN_PROGRESS, timezone.now()
    plan.save(update_fields=["status", "approved_at"])
    more = {"goal": plan.goal, "subtasks": _subtasks(value_of(plan))} if edited else {}
    return [_decided(plan, "edit" if edited else "approve", **more), *_next(session, plan).events]


def reject(session: Session, call: ToolCall, feedback: str) -> list[NewEvent]:
    """End a plan that a person does not want."""
    return [_decided(call.plan, "reject", feedback=feedback), *cancel(session)]


def _decided(plan: Plan, decision: str, **more: Any) -> NewEvent:
    names = {"plan_id": str(plan.pk), "turn_id": str(plan.call.turn_id), "call_id": plan.call.call_id}
    payload = {**names, "decision": decision, **more}
    return NewEvent(kind=EventKind.PLAN_DECIDED, turn_id=plan.call.turn_id, payload=payload)


def _write(plan: Plan, call: ToolCall) -> None:
    """Make a plan's rows of the call's arguments, which have been judged."""
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


# While it is carried out


def finish(session: Session, subtask: SubTask, status: Status, result: str) -> NextStep:
    """End the sub-task that is at work, and begin the next one or end the plan."""
    text = result if len(result) <= RESULT_LENGTH else result[:RESULT_LENGTH] + " …"
    ended = _moved(subtask.plan, subtask.key, status, text)
    course = _next(session, subtask.plan)
    return NextStep(events=[ended, *course.events], goes_on=course.goes_on)


def give_up(session: Session, subtask: SubTask | None) -> list[NewEvent]:
    """Let the sub-task that is at work fail if it has used up its steps; nothing otherwise."""
    if subtask is None or subtask.steps < STEP_LIMIT:
        return []
    return finish(session, subtask, Status.FAILED, USED_UP).events


def cancel(session: Session, *, only_draft: bool = False) -> list[NewEvent]:
    """End the active plan, if there is one, at its user's wish or because it can no longer be decided."""
    plan = active(session)
    if plan is None or (only_draft and plan.status != PlanStatus.DRAFT):
        return []
    events = [
        _moved(plan, key, Status.SKIPPED)
        for key in plan.subtasks.filter(status=SubTaskStatus.IN_PROGRESS).values_list("key", flat=True)
    ]
    return events + _ended(session, plan, PlanStatus.CANCELLED)


def _next(session: Session, plan: Plan) -> NextStep:
    value = value_of(plan)
    if ready := values.ready_subtasks(value):
        subtask = ready[0]
        begun = _moved(plan, subtask.id, Status.IN_PROGRESS)
        reason = f"Sub-task {subtask.id} of the plan"
        return NextStep(events=[begun, *_handed_over(session, subtask.agent, reason)], goes_on=True)
    status = PlanStatus.COMPLETED if values.is_complete(value) else PlanStatus.FAILED
    return NextStep(events=_ended(session, plan, status), goes_on=status == PlanStatus.FAILED)


def _moved(plan: Plan, key: str, status: Status, result: str = "") -> NewEvent:
    """Move a sub-task. Raises agents.plans.PlanError for a step that there is not."""
    subtask = values.transition(value_of(plan), key, status, result=result)[key]
    time = "started_at" if status is Status.IN_PROGRESS else "finished_at"
    changed = {"status": status.value, "result": result, time: timezone.now()}
    plan.subtasks.filter(key=key).update(**changed)
    payload = {"plan_id": str(plan.pk), "subtask_id": key, "status": status.value, "agent": subtask.agent}
    return NewEvent(kind=EventKind.PLAN_UPDATED, payload={**payload, "result": result})


def _ended(session: Session, plan: Plan, status: PlanStatus) -> list[NewEvent]:
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
    back = _handed_over(session, plan.agent, f"The plan is over: {status}") if plan.approved_at else []
    return [*back, NewEvent(kind=EventKind.PLAN_FINISHED, payload=payload)]


def _handed_over(session: Session, agent: str, reason: str) -> list[NewEvent]:
    if agent == session.current_agent:
        return []
    # Without the turn: its own model has a limit of changes, and did not ask for this one.
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
