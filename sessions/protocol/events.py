"""What events hold: one closed type for each kind. `sessions.protocol.snapshot` has the snapshot's.

The types describe what the server sends. It does not validate its own events with them; tests do, each event that a
test writes. `make schema` generates docs/protocol/*.json and the types of the clients from them.

To add a kind, write a class with the decorator `event` here: the kind is its name in snake case, the docstring is its
description. Put NotRequired around fields that are not always there, and `| None` only where the server sends null. A
field of an existing kind is one more line. Then `make schema`, and the table "Events" of docs/protocol.md.
"""

from typing import Any, Literal, NotRequired, TypedDict

from sessions.protocol.payloads import PAYLOADS, ContextUse, Mode, TurnUse, closed, event
from sessions.protocol.plan_events import PlanProposed

__all__ = ["PAYLOADS", "ContextUse", "Mode", "PlanProposed", "closed"]


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
    #: Of a chat completion: what only the model's provider understands, such as a signature. The caller sends it back.
    extra: NotRequired[dict[str, Any]]


@closed
class DefinedTool(TypedDict):
    """What a client has said of a tool that it defines itself. The approval of a call covers it."""

    kind: Literal["read", "edit", "command", "other"]
    #: At most 1,000 characters of it.
    description: str


@closed
class MessageImage(TypedDict):
    """An image that a message of the user or of a tool shows."""

    image_id: str
    media_type: str
    bytes: int


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
    #: It went into an open turn, whose next step reads it.
    steer: NotRequired[Literal[True]]
    subtask_id: NotRequired[str]
    #: Of an answer: who wrote it, and in which mode. The model is not there when none was called.
    agent: NotRequired[str]
    mode: NotRequired[Mode]
    model: NotRequired[str]
    context: NotRequired[ContextUse]


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
class WorkspaceChanged(TypedDict):
    """The client works in another workspace, or something in it has changed. The same again has no event."""

    #: SHA-256 of all that the client has said.
    hash: str
    name: str
    system: str
    branch: str
    #: Paths of the files with the project's rules.
    instructions: list[str]


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
    #: Steered messages that belong to this turn from here on, because theirs ends without having read them.
    messages: NotRequired[list[str]]


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
    #: As the step begins; the agent's choice may follow.
    agent: NotRequired[str]
    mode: NotRequired[Mode]
    #: Messages that an earlier attempt has begun. Clients drop their texts.
    replaces: list[str]
    #: The steered messages that this step is the first to read.
    reads: NotRequired[list[str]]


@event
class TextDelta(TypedDict):
    """A piece of a message."""

    turn_id: str
    message_id: str
    text: str
    again: NotRequired[Literal[True]]


@event
class ReasoningDelta(TextDelta):
    """A piece of what the model thinks before a message."""


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
    client_tool: NotRequired[DefinedTool]
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
    #: Of a command.
    exit_code: NotRequired[int]
    #: Of a file that was changed, and its change as a unified diff. A long diff has a line for what is left out.
    sha256_before: NotRequired[str]
    sha256_after: NotRequired[str]
    diff: NotRequired[str]


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
class SummaryAdded(TypedDict):
    """A model has summarized older messages, which no longer fit its window. From now on it reads this instead."""

    turn_id: str
    summary_id: str
    text: str
    #: How many messages it stands for, those of the summary before included, and the last of them.
    messages: int
    until: str


@event
class TurnCompleted(TypedDict):
    """The turn has ended with an answer."""

    turn_id: str
    input_tokens: int
    output_tokens: int
    cached_tokens: NotRequired[int]
    #: As in `turn_failed`.
    cost: NotRequired[str]


@event
class TurnFailed(TurnUse):
    """The turn has ended with an error."""

    turn_id: str
    error_code: str
    error: str
    retry_after: NotRequired[int]
    #: Of `model_context_too_long`, where both are known: the tokens of the conversation, and what the model reads.
    context: NotRequired[ContextUse]


@event
class TurnCancelled(TurnUse):
    """The turn was stopped."""

    turn_id: str


@event
class TurnReplaced(TypedDict):
    """The user's next message takes the place of an ended turn. All messages of the turn left the conversation."""

    turn_id: str
    #: The turn that takes its place.
    by: str
    #: The newest summary from here on, where the one before stood for messages of the turn.
    summary: NotRequired[SummaryAdded | None]
