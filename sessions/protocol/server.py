"""The frames that the server sends. It must never send unknown types or explicit nulls to old clients."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Union

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, to_json

from sessions.protocol.events import PAYLOADS, closed
from sessions.protocol.snapshot import SNAPSHOT

#: Kinds of which one event may stand for several numbers.
COMPACTED = ("text_delta", "reasoning_delta")


@dataclass(frozen=True)
class Documented:
    """Describe a field in the schemas by another type. The server does not validate its own data with that type."""

    adapter: TypeAdapter[Any]

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self.adapter.core_schema)


class ServerFrame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Number of the frame's event within its session; absent when the frame has no event.
    number: int | None = None
    turn_id: str | None = None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe fields as absent or never null, because `encode` leaves the empty ones out."""
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema)
        properties = described["properties"]
        optional = [name for name, each in properties.items() if each.get("default", ...) is None]
        for name in optional:
            (present,) = (option for option in properties[name]["anyOf"] if option != {"type": "null"})
            properties[name] = {"title": properties[name].get("title", name), **present}
        described["required"] = [name for name in properties if name not in optional]
        return schema


class AssistantMessage(ServerFrame):
    """The assistant's text: pieces in `token` while `is_final` is false, at last the whole in `content`.

    Without pieces `token` has what `content` has. A very long text comes in several frames; join those of a message.
    """

    type: Literal["assistant_message"] = "assistant_message"
    token: str
    #: Not with pieces, because old clients show each `content` as a message of its own.
    content: str | None = None
    is_final: bool
    message_id: str | None = None


class ToolCallRequest(ServerFrame):
    """The model asks the client to run a tool, after the user's approval when `requires_approval` is true."""

    type: Literal["tool_call"] = "tool_call"
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    requires_approval: bool
    #: Another client was told to run it and went away, so it may have run: `reason` says so, for the user.
    unknown: Literal[True] | None = None
    reason: str | None = None
    #: The user has changed the model's arguments.
    edited: Literal[True] | None = None
    is_final: bool = True


class AgentSwitched(ServerFrame):
    """Another agent answers from now on. The root and `metadata` have the same facts, because old clients differ."""

    type: Literal["agent_switched"] = "agent_switched"
    content: str
    from_agent: str
    to_agent: str
    reason: str
    metadata: dict[str, str]
    is_final: bool = False


class PlanNotification(ServerFrame):
    """Only with `?plans=1`: a plan waits for approval. `metadata` has the plan, as in the original."""

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
    """Only with `?plans=1`: a sub-task of the plan is complete; `completion_reason` is its agent's report."""

    type: Literal["subtask_completed"] = "subtask_completed"
    metadata: dict[str, str]


class PlanProgress(ServerFrame):
    """Only with `?plans=1`: the status of a sub-task, in the words of the original's editor."""

    type: Literal["plan_progress"] = "plan_progress"
    plan_id: str
    step_id: str
    status: Literal["in_progress", "completed", "failed", "skipped"]
    result: str | None = None
    error: str | None = None


class PlanCompleted(ServerFrame):
    """Only with `?plans=1`: the plan has ended; its `plan_status` is `complete`, `failed` or `cancelled`."""

    type: Literal["plan_completed"] = "plan_completed"
    metadata: dict[str, Any]
    #: True when the plan is complete: no other frame of this turn follows.
    is_final: bool


class Error(ServerFrame):
    """An error. `content` and `error` have the same sentence, because old clients read one or the other."""

    type: Literal["error"] = "error"
    content: str
    error: str
    #: An `ErrorCode`, or the code of a model's error.
    error_code: str
    #: True when it ends a turn; absent when it only rejects a frame.
    is_final: bool | None = None
    #: Seconds after which another try is worth it, if known.
    retry_after: int | None = None
    #: Of the frame that is refused, if it has one.
    ref: str | None = None


class Welcome(ServerFrame):
    """Only in `codelab.v2`: the answer to Hello. The next events have numbers above `after`."""

    type: Literal["welcome"] = "welcome"
    #: "replay": the missed events follow; "snapshot": discard everything, `snapshot` has the state.
    mode: Literal["replay", "snapshot"]
    after: int
    snapshot: Annotated[dict[str, Any], Documented(SNAPSHOT)] | None = None
    ref: str | None = None


class Accepted(ServerFrame):
    """Only in `codelab.v2`: what a frame asks for is stored. For messages, and for other frames that have a `ref`.

    Of a message `number` is its turn's, and these fields are there: `message_id`, `turn_id`, `repeated`.
    """

    type: Literal["accepted"] = "accepted"
    message_id: str | None = None
    client_message_id: str | None = None
    #: The message was accepted before, with the same client_message_id.
    repeated: bool | None = None
    ref: str | None = None


class EventFrame(ServerFrame):
    """Only in `codelab.v2`: a fact of the session; docs/protocol.md lists the kinds and their payloads."""

    type: Literal["event"] = "event"
    #: Of a compacted event: the first of its numbers, which follows the last event that the client has.
    first: int | None = None
    kind: str
    payload: dict[str, Any]

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the payload of each kind."""
        return handler(EVENT.core_schema)


def _event_frame(kind: str, payload: type) -> type:
    """Return the closed type of the EventFrame of one kind."""
    fields = {"type": Literal["event"], "number": int, "kind": Literal[kind], "payload": payload}
    if kind in COMPACTED:
        fields["first"] = NotRequired[int]
    frame = TypedDict(payload.__name__.replace("Payload", "Event"), fields)  # type: ignore[misc]
    frame.__doc__ = payload.__doc__
    return closed(frame)


#: An EventFrame, told apart by its kind.
_FRAMES: Any = Union[*(_event_frame(*each) for each in PAYLOADS.items())]
EVENT: TypeAdapter[Any] = TypeAdapter(Annotated[_FRAMES, Field(discriminator="kind")])


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
    """Return the frame as JSON text without empty fields, because an explicit null breaks some old clients."""
    return frame.model_dump_json(exclude_none=True)


def encode_event(*, number: int, first: int | None, kind: str, payload: dict[str, Any]) -> str:
    """Return an EventFrame as JSON text, as `encode` would.

    Without the model, which takes nearly three times as long: this and `encode_piece` run for each piece and socket.
    """
    span = {} if first is None else {"first": first}
    fields = {"number": number, "type": "event", **span, "kind": kind, "payload": payload}
    return to_json(fields, inf_nan_mode="null").decode()


def encode_piece(*, number: int | None, turn_id: str, message_id: str, token: str) -> str:
    """Return the AssistantMessage of a piece as JSON text, as `encode` would."""
    numbered = {} if number is None else {"number": number}
    fields = {**numbered, "turn_id": turn_id, "type": "assistant_message", "token": token}
    return to_json({**fields, "is_final": False, "message_id": message_id}).decode()
