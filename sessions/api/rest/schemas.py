"""Bodies of the REST API for sessions, messages and images. Their shapes are those of the original service.

Its clients cast fields without a check, so none that they need is ever null (docs/protocol.md).
"""

import uuid
from datetime import datetime
from typing import Any, TypedDict

from ninja import Field, Schema

from agents.policy import Mode
from sessions.api.rest.rules import RuleOut
from sessions.models import MAX_TITLE_LENGTH, Session, TurnStatus
from sessions.protocol.client import When
from sessions.protocol.codes import MAX_CLIENT_ID_LENGTH, MAX_IMAGES, MAX_KEY_LENGTH, MAX_MESSAGE_LENGTH

MAX_WAIT_SECONDS = 300.0


class MessageIn(Schema):
    """A message for a session, which is created on first use."""

    session_id: str = Field(min_length=1, max_length=MAX_KEY_LENGTH)
    message: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)
    client_message_id: str | None = Field(
        None, min_length=1, max_length=MAX_CLIENT_ID_LENGTH, description="Your own id, for safe retries."
    )
    when: When | None = Field(
        None,
        description="`queue`: after the turns before it. `interrupt`: stop the open turn and answer this message next. "
        "`steer`: the next step of the open turn reads it.",
    )
    interrupt: bool = Field(False, description="Without `when`: true is `interrupt`.")
    images: list[uuid.UUID] = Field(
        default_factory=list, max_length=MAX_IMAGES, description="Ids of images uploaded to the session."
    )
    replaces: uuid.UUID | None = Field(
        None, description="Message that began the session's newest turn, which has ended: this one takes its place."
    )
    wait: bool = Field(False, description="Respond when the turn has ended, with the assistant's message.")
    timeout: float = Field(120, gt=0, le=MAX_WAIT_SECONDS, description="The longest wait in seconds.")


class AnswerOut(Schema):
    message_id: str
    content: str


class MessageOut(Schema):
    """The accepted message, and with `wait` the outcome of its turn."""

    session_id: str
    message_id: uuid.UUID
    turn_id: uuid.UUID
    status: str
    repeated: bool = Field(False, description="It was accepted before, under the same client_message_id.")
    answer: AnswerOut | None = None


class EditIn(Schema):
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)


class WaitingMessage(Schema):
    message_id: uuid.UUID
    turn_id: uuid.UUID
    content: str


class QueuedMessage(WaitingMessage):
    steer: bool = Field(False, description="The next step of the turn reads it.")


class MessageQueue(Schema):
    messages: list[QueuedMessage]


class CancelledTurn(Schema):
    turn_id: uuid.UUID
    status: str = TurnStatus.CANCELLED.value


class WithdrawnMessage(Schema):
    turn_id: uuid.UUID
    status: str = Field(description="`cancelled` with its turn, or `withdrawn` from one that goes on without it.")


class EventOut(Schema):
    number: int
    first: int | None = Field(None, description="Of a compacted event: the first number that it replaces.")
    kind: str
    payload: dict[str, Any]


class EventPage(Schema):
    """Events in order. While the last number is below `last_number`, request the next page."""

    events: list[EventOut]
    last_number: int


class SessionChange(Schema):
    """Fields to change; absent and null fields stay unchanged."""

    title: str | None = Field(None, min_length=1, max_length=MAX_TITLE_LENGTH)
    mode: Mode | None = Field(None, description="What its agents may do without approval.")
    pinned: bool | None = Field(None, description="Keep it at the top of the list.")


class DeletedSession(Schema):
    id: str
    session_id: str
    status: str = "deleted"


class SessionIn(Schema):
    """The id of the session; the server generates a missing one."""

    session_id: str | None = Field(None, min_length=1, max_length=MAX_KEY_LENGTH)


class FoundMessage(Schema):
    """The newest message of a session that a search has found."""

    message_id: uuid.UUID
    text: str = Field(description="The text around the first word.")


class SessionOut(Schema):
    """A session. The original clients read its id under two names."""

    id: str = Field(alias="key")
    session_id: str
    title: str
    message_count: int
    created_at: datetime
    updated_at: datetime
    last_activity: datetime
    current_agent: str
    mode: Mode
    is_active: bool = True
    pinned: bool = Field(alias="is_pinned")
    found: FoundMessage | None = Field(None, description="With `query`, where a message has its words.")

    @staticmethod
    def resolve_session_id(session: Session) -> str:
        return session.key

    @staticmethod
    def resolve_last_activity(session: Any) -> datetime:
        latest: datetime = session.last_message_at or session.created_at
        return latest


class SessionList(Schema):
    """A page of sessions; `total` counts all of them."""

    sessions: list[SessionOut]
    total: int
    limit: int
    offset: int


class Settings(Schema):
    """A session's settings. PATCH changes title and mode, /rules the rules, /agents/…/switch the agent."""

    session_id: str
    title: str
    mode: Mode
    modes: list[Mode] = Field(description="All modes, the most careful one first.")
    current_agent: str
    agent_chosen: bool = Field(description="The user chose the agent, so messages are not routed to others.")
    client_tools: list[str] | None = Field(description="The tools that the client can run; null: all client tools.")
    tool_definitions: list[dict[str, Any]] = Field(description="The tools that the client defines, as it says them.")
    rules: list[RuleOut] = Field(description="The rules of the session and of all sessions.")


class ImageOut(Schema):
    """An image of a session, for messages to show."""

    image_id: uuid.UUID
    media_type: str
    bytes: int


class HistoryMessage(Schema):
    id: uuid.UUID
    role: str
    content: str
    created_at: datetime
    name: str | None = Field(None, description="Of a tool message: the tool.")
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    images: list[ImageOut] | None = Field(None, description="The images that the user's message shows.")


#: A change of the session's agent. A class statement cannot have a field `from`.
Switch = TypedDict("Switch", {"from": str, "to": str, "reason": str, "timestamp": datetime})


class History(Schema):
    session_id: str
    messages: list[HistoryMessage]
    message_count: int = Field(description="Of the whole session.")
    has_more: bool = Field(description="Whether there are older messages, or with `after` newer ones.")
    last_activity: datetime
    current_agent: str
    agent_history: list[Switch]
