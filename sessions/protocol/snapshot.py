"""What a snapshot holds, as closed types. A field of a snapshot is one more line here, and then `make schema`."""

from typing import Literal, NotRequired, TypedDict

from pydantic import TypeAdapter

from sessions.protocol.events import (
    MessageAdded,
    Mode,
    PlanProposed,
    SummaryAdded,
    ToolCallRequested,
    WorkspaceChanged,
    closed,
)
from sessions.protocol.payloads import ContextUse


@closed
class SessionState(TypedDict):
    """The session itself."""

    session_id: str
    title: str
    current_agent: str
    mode: Mode


@closed
class OpenTurn(TypedDict):
    """A turn that has not ended."""

    turn_id: str
    status: Literal["queued", "running", "waiting"]
    attempt: int
    #: Of a queued turn whose provider asks to wait: those of its `retry_scheduled`.
    error_code: NotRequired[str]
    retry_at: NotRequired[str]
    retry_after: NotRequired[int]


@closed
class UnfinishedText(TypedDict):
    """A message that was begun and is not stored yet."""

    turn_id: str
    message_id: str
    text: str
    reasoning: NotRequired[str]


@closed
class OpenToolCall(ToolCallRequested):
    """A tool call without a result."""

    edited: NotRequired[Literal[True]]


@closed
class ConversationMessage(MessageAdded):
    """A message of the conversation."""

    #: Of a steered message: a step has read it.
    read: NotRequired[Literal[True]]


@closed
class Usage(TypedDict):
    """What the turns of a session that have ended used, replaced ones included."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    #: US dollars, as a decimal number.
    cost: str
    #: Turns that the cost leaves out, because theirs is unknown.
    unpriced_turns: int
    #: Of the newest step.
    context: NotRequired[ContextUse]


@closed
class Snapshot(TypedDict):
    """The state of a session: the same as all events up to its number."""

    number: int
    session: SessionState
    messages: list[ConversationMessage]
    older_messages: bool
    turns: list[OpenTurn]
    texts: list[UnfinishedText]
    tool_calls: list[OpenToolCall]
    plan: PlanProposed | None
    workspace: WorkspaceChanged | None
    summary: SummaryAdded | None
    usage: Usage


SNAPSHOT: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)
