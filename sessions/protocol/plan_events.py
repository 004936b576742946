"""What events of plans hold. A part of `sessions.protocol.events`."""

from typing import Literal, NotRequired, TypedDict

from sessions.protocol.payloads import closed, event


@closed
class PlanSubtask(TypedDict):
    """A sub-task of a plan."""

    id: str
    description: str
    agent: str
    dependencies: list[str]
    status: Literal["pending", "in_progress", "completed", "failed", "skipped"]
    result: str
    estimated_time: NotRequired[str]


@event
class PlanProposed(TypedDict):
    """A plan waits for approval."""

    plan_id: str
    turn_id: str
    call_id: str
    goal: str
    agent: str
    status: Literal["draft", "in_progress", "completed", "failed", "cancelled"]
    subtasks: list[PlanSubtask]


@event
class PlanDecided(TypedDict):
    """A plan was approved, edited or rejected."""

    plan_id: str
    turn_id: str
    call_id: str
    decision: Literal["approve", "edit", "reject"]
    goal: NotRequired[str]
    subtasks: NotRequired[list[PlanSubtask]]
    feedback: NotRequired[str]


@event
class PlanUpdated(TypedDict):
    """A sub-task has another status."""

    plan_id: str
    subtask_id: str
    status: Literal["in_progress", "completed", "failed", "skipped"]
    agent: str
    result: str


@event
class PlanFinished(TypedDict):
    """A plan has ended."""

    plan_id: str
    turn_id: str
    status: Literal["completed", "failed", "cancelled"]
    total: int
    completed: int
    failed: int
