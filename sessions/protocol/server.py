"""The frames that the server sends. Old clients must not be sent types they do not know, nor explicit nulls."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json


class ServerFrame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Number of the event behind the frame, growing within a session; absent where no event is behind it.
    number: int | None = None
    turn_id: str | None = None


class AssistantMessage(ServerFrame):
    """The assistant's text: pieces in `token` while `is_final` is false, then all of it in `token` and `content`."""

    type: Literal["assistant_message"] = "assistant_message"
    token: str
    #: The whole text, in the last frame only: old clients show every `content` as a message of its own.
    content: str | None = None
    is_final: bool
    message_id: str | None = None


class ToolCallRequest(ServerFrame):
    """The model asks the client to run a tool, after a person's approval where `requires_approval` is true."""

    type: Literal["tool_call"] = "tool_call"
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    requires_approval: bool
    is_final: bool = True


class AgentSwitched(ServerFrame):
    """Another agent answers from here on. The same facts stand at the root and in `metadata`: old clients differ."""

    type: Literal["agent_switched"] = "agent_switched"
    content: str
    from_agent: str
    to_agent: str
    reason: str
    metadata: dict[str, str]
    is_final: bool = False


class PlanNotification(ServerFrame):
    """Only with `?plans=1`: a plan waits for its approval. All of it is in `metadata`, as the original had it."""

    type: Literal["plan_notification"] = "plan_notification"
    content: str
    metadata: dict[str, Any]
    is_final: bool = True


class SubtaskStarted(ServerFrame):
    """Only with `?plans=1`: a sub-task of the plan has begun."""

    type: Literal["subtask_started"] = "subtask_started"
    content: str
    metadata: dict[str, str]


class SubtaskCompleted(ServerFrame):
    """Only with `?plans=1`: a sub-task of the plan is done; `completion_reason` is what its agent reports."""

    type: Literal["subtask_completed"] = "subtask_completed"
    metadata: dict[str, str]


class PlanProgress(ServerFrame):
    """Only with `?plans=1`: where a sub-task is, in the words that the original's editor moves its view by."""

    type: Literal["plan_progress"] = "plan_progress"
    plan_id: str
    step_id: str
    status: Literal["in_progress", "completed", "failed", "skipped"]
    result: str | None = None
    #: Why it failed.
    error: str | None = None


class PlanCompleted(ServerFrame):
    """Only with `?plans=1`: the plan is over; its `plan_status` is `complete`, `failed` or `cancelled`."""

    type: Literal["plan_completed"] = "plan_completed"
    metadata: dict[str, Any]
    #: True when all was done: nothing else follows in this turn.
    is_final: bool


class Error(ServerFrame):
    """Something did not work. The same sentence stands in `content` and `error`: old clients read one or the other."""

    type: Literal["error"] = "error"
    content: str
    error: str
    #: One of `ErrorCode` or a code of a model's error.
    error_code: str
    #: True when it ends a turn; absent when it only refuses a frame.
    is_final: bool | None = None
    #: Seconds after which it is worth another try, where that is known.
    retry_after: int | None = None


class Welcome(ServerFrame):
    """Only in `codelab.v2`: where the client stands. The next events have numbers above `after`."""

    type: Literal["welcome"] = "welcome"
    #: "replay": exactly what was missed follows; "snapshot": forget everything, the state is in `snapshot`.
    mode: Literal["replay", "snapshot"]
    after: int
    snapshot: dict[str, Any] | None = None


class Accepted(ServerFrame):
    """Only in `codelab.v2`: a message of this client is stored and will be answered; `number` is that of its turn."""

    type: Literal["accepted"] = "accepted"
    message_id: str
    client_message_id: str | None = None
    #: It had been accepted before, under the same client_message_id.
    repeated: bool


class EventFrame(ServerFrame):
    """Only in `codelab.v2`: a fact of the session; docs/protocol.md lists the kinds and their payloads."""

    type: Literal["event"] = "event"
    #: Where it stands for several numbers, the first of them; the one after the last event that you have.
    first: int | None = None
    kind: str
    payload: dict[str, Any]


type AnyServerFrame = Annotated[
    AssistantMessage
    | ToolCallRequest
    | AgentSwitched
    | PlanNotification
    | SubtaskStarted
    | SubtaskCompleted
    | PlanProgress
    | PlanCompleted
    | Error
    | Welcome
    | Accepted
    | EventFrame,
    Field(discriminator="type"),
]


def error_frame(code: str, text: str, **fields: Any) -> Error:
    """Return an error frame."""
    return Error(content=text, error=text, error_code=code, **fields)


def encode(frame: ServerFrame) -> str:
    """Return the frame as JSON text without empty fields: an explicit null breaks some old clients."""
    return frame.model_dump_json(exclude_none=True)


def encode_event(*, number: int, first: int | None, kind: str, payload: dict[str, Any]) -> str:
    """Return an EventFrame as JSON text, as `encode` would.

    Without the model, which takes nearly three times as long: this and the next are done for each piece and socket.
    """
    span = {} if first is None else {"first": first}
    fields = {"number": number, "type": "event", **span, "kind": kind, "payload": payload}
    return to_json(fields, inf_nan_mode="null").decode()


def encode_piece(*, number: int, turn_id: str, message_id: str, token: str) -> str:
    """Return the AssistantMessage of a piece as JSON text, as `encode` would."""
    fields = {"number": number, "turn_id": turn_id, "type": "assistant_message", "token": token}
    return to_json({**fields, "is_final": False, "message_id": message_id}).decode()
