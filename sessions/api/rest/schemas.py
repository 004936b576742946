"""The bodies of the REST API: what may be sent and what is answered. Shapes are those of the original's clients."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, TypedDict

from ninja import Field, Schema

from agents.policy import Mode
from sessions.models import MAX_TITLE_LENGTH, TurnStatus
from sessions.protocol import MAX_CLIENT_ID_LENGTH, MAX_IMAGES, MAX_KEY_LENGTH, MAX_MESSAGE_LENGTH

#: Longest that `wait` waits for the answer, in seconds.
LONGEST_WAIT = 300.0


class MessageIn(Schema):
    """A message for a session, which is made when there is none with this id."""

    session_id: str = Field(min_length=1, max_length=MAX_KEY_LENGTH)
    message: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)
    client_message_id: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_CLIENT_ID_LENGTH,
        description="Your own id: the same again is the same message.",
    )
    interrupt: bool = Field(False, description="Stop the turn that is under way and answer this message next.")
    images: list[uuid.UUID] = Field(
        default_factory=list, max_length=MAX_IMAGES, description="Pictures that were uploaded to the session."
    )
    wait: bool = Field(False, description="Answer only when the turn has ended, with the assistant's message.")
    timeout: float = Field(120, gt=0, le=LONGEST_WAIT, description="Seconds to wait at most.")


class Answer(Schema):
    """The assistant's message."""

    message_id: str
    content: str


class MessageOut(Schema):
    """What was accepted, and with `wait` what came of it."""

    session_id: str
    message_id: uuid.UUID
    turn_id: uuid.UUID
    status: str
    repeated: bool = Field(False, description="It had been accepted before, under the same client_message_id.")
    answer: Answer | None = None


class EditIn(Schema):
    """The new text of a message."""

    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)


class WaitingMessage(Schema):
    """A message that waits for its answer."""

    message_id: uuid.UUID
    turn_id: uuid.UUID
    content: str


class Queue(Schema):
    messages: list[WaitingMessage]


class CancelOut(Schema):
    """The turn that was stopped."""

    turn_id: uuid.UUID
    status: str = TurnStatus.CANCELLED.value


class EventOut(Schema):
    number: int
    first: int | None = Field(None, description="Where it stands for several numbers, the first of them.")
    kind: str
    payload: dict[str, Any]


class EventPage(Schema):
    """Events in order; ask again with the last one's number while it is below `last_number`."""

    events: list[EventOut]
    last_number: int


class SessionChange(Schema):
    """What is to be different; what is left out or null stays as it is."""

    title: str | None = Field(None, min_length=1, max_length=MAX_TITLE_LENGTH)
    mode: Mode | None = Field(None, description="What its agents may do unasked.")


class SessionDeleted(Schema):
    """The session that is no more."""

    id: str
    session_id: str
    status: str = "deleted"


class SessionIn(Schema):
    """The id that a client wishes for its session; one is made up when it has no wish."""

    session_id: str | None = Field(None, min_length=1, max_length=MAX_KEY_LENGTH)


class SessionOut(Schema):
    """A session as the original's clients read it: flat, with the same id under two names."""

    id: str
    session_id: str
    title: str
    message_count: int
    created_at: datetime
    updated_at: datetime
    last_activity: datetime
    current_agent: str
    mode: Mode
    is_active: bool = True


class SessionList(Schema):
    """A page of sessions; `total` counts all of them."""

    sessions: list[SessionOut]
    total: int
    limit: int
    offset: int


class ImageOut(Schema):
    """A picture of a session, for messages to show."""

    image_id: uuid.UUID
    media_type: str
    bytes: int


class HistoryMessage(Schema):
    id: uuid.UUID
    role: str
    content: str
    created_at: datetime
    name: str | None = Field(None, description="Of a tool's message: the tool.")
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    images: list[ImageOut] | None = Field(None, description="The pictures that its user shows.")


#: From here on another agent answered. Written so because `from` is no name for an attribute.
Switch = TypedDict("Switch", {"from": str, "to": str, "reason": str, "timestamp": datetime})


class History(Schema):
    session_id: str
    messages: list[HistoryMessage]
    message_count: int
    last_activity: datetime
    current_agent: str
    agent_history: list[Switch]
