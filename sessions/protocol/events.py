"""What events hold: one closed type for each kind. `sessions.protocol.snapshot` has the snapshot's.

The types describe what the server sends. It does not validate its own events with them; tests do, each event that a
test writes. `make schema` generates docs/protocol/*.json and the types of the clients from them.

To add a kind, write a class with the decorator `event` here: the kind is its name in snake case, the docstring is its
description. Put NotRequired around fields that are not always there, and `| None` only where the server sends null. A
field of an existing kind is one more line. Then `make schema`, and the table "Events" of docs/protocol.md.
"""

import re
from typing import Any, Literal, NotRequired, TypedDict

from pydantic import ConfigDict, with_config

#: The payload of each kind of event.
PAYLOADS: dict[str, type] = {}

#: What runs without approval, the most careful one first.
Mode = Literal["ask", "auto-read", "auto-edit", "full"]

#: Fields that no type lists are errors. Clients nevertheless ignore fields that they do not know.
closed = with_config(ConfigDict(extra="forbid"))


def event[T: type](payload: T) -> T:
    """Register a closed type as the payload of the kind with its name in snake case."""
    PAYLOADS[re.sub(r"(?<!^)(?=[A-Z])", "_", payload.__name__).lower()] = payload
    # Its name in schemas, because a frame of older clients may have the name of a kind.
    payload.__name__ = payload.__qualname__ = f"{payload.__name__}Payload"
    return closed(payload)


@closed
class MessageToolCall(TypedDict):
    """A tool call that a message of the assistant requests."""

    id: str
    name: str
    #: A text where the model's own could not be read and the OpenAI-compatible API has passed them on.
    arguments: dict[str, Any] | str
    #: The arguments for people, where the exact ones would mislead them.
    display: NotRequired[dict[str, Any]]
    #: A person has changed the arguments.
    edited: NotRequired[Literal[True]]


@closed
class MessageImage(TypedDict):
    """An image that a message of the user shows."""

    image_id: str
    media_type: str
    bytes: int


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
class AgentSwitched(TypedDict):
    """Another agent answers from here on."""

    from_agent: str
    to_agent: str
    reason: str
    confidence: str
    by_user: NotRequired[Literal[True]]


@event
class MessageAdded(TypedDict):
    """A message of the conversation is stored."""

    message_id: str
    turn_id: str
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    reasoning: NotRequired[str]
    tool_calls: NotRequired[list[MessageToolCall]]
    interrupted: NotRequired[Literal[True]]
    tool_call_id: NotRequired[str]
    images: NotRequired[list[MessageImage]]
    subtask_id: NotRequired[str]


@event
class SessionChanged(TypedDict):
    """The title or the mode has changed."""

    title: str
    mode: Mode


@event
class SessionDeleted(TypedDict):
    """The session was deleted. No event follows."""

    session_id: NotRequired[str]


@event
class MessageEdited(TypedDict):
    """The text of a waiting message has changed."""

    message_id: str
    turn_id: str
    content: str


@event
class MessageWithdrawn(TypedDict):
    """A waiting message left the conversation."""

    message_id: str
    turn_id: str


@event
class TurnQueued(TypedDict):
    """The turn waits for a worker."""

    turn_id: str


@event
class QueueChanged(TypedDict):
    """The order of the waiting turns has changed."""

    turn_ids: list[str]


@event
class TurnStarted(TypedDict):
    """A worker has begun a step of the turn."""

    turn_id: str
    attempt: int
    model: str
    #: Messages that an earlier attempt has begun. Clients drop their texts.
    replaces: list[str]


@event
class TextDelta(TypedDict):
    """A piece of a message."""

    turn_id: str
    message_id: str
    text: str
    again: NotRequired[Literal[True]]


@event
class ReasoningDelta(TypedDict):
    """A piece of what the model thinks before a message."""

    turn_id: str
    message_id: str
    text: str
    again: NotRequired[Literal[True]]


@event
class ToolCallRequested(TypedDict):
    """A tool call waits for approval, or for its result."""

    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    requires_approval: bool
    agent: str
    #: What decided whether it requires approval.
    rule: str
    reason: str
    display: NotRequired[dict[str, Any]]
    unknown: NotRequired[Literal[True]]


@event
class ApprovalDecided(TypedDict):
    """The approval of a tool call was decided."""

    turn_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    status: Literal["approved", "edited", "rejected", "expired"]
    via: Literal["socket", "result", "rest", "admin", "deadline"]
    display: NotRequired[dict[str, Any]]


@event
class ToolCallFinished(TypedDict):
    """A tool call has its result."""

    turn_id: str
    call_id: str
    status: Literal["completed", "failed", "rejected", "unknown"]


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


@event
class TurnWaiting(TypedDict):
    """The turn waits for results or approvals of its tool calls."""

    turn_id: str


@event
class RetryScheduled(TypedDict):
    """The model's provider asks to wait. The turn is queued, and goes on by itself at that time."""

    turn_id: str
    error_code: str
    #: A time in UTC, and how many seconds it is away.
    retry_at: str
    retry_after: int


@event
class TurnCompleted(TypedDict):
    """The turn has ended with an answer."""

    turn_id: str
    input_tokens: int
    output_tokens: int


@event
class TurnFailed(TypedDict):
    """The turn has ended with an error."""

    turn_id: str
    error_code: str
    error: str
    retry_after: NotRequired[int]


@event
class TurnCancelled(TypedDict):
    """The turn was stopped."""

    turn_id: str
