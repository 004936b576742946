"""The wire: every frame a client may send and every frame it may get, with error codes and close codes.

Clients of the original are served as they are (docs/protocol.md has the reasons): unknown fields are ignored, explicit
nulls are accepted, nothing unasked-for is sent, and new facts travel as extra fields of known frames. This module
must not touch the database or the network. `manage.py export_protocol` writes it down as JSON Schema and AsyncAPI.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

#: The WebSocket subprotocol of clients that follow a session by its events.
EVENTS_SUBPROTOCOL = "codelab.v2"
#: The subprotocols that can be chosen. A page that sends its token as another one has to name one of these as well.
SUBPROTOCOLS = (EVENTS_SUBPROTOCOL, "codelab.v1")
#: Largest frame a client may send, in bytes; below the server's own limit of 1 MiB, which ends the socket (1009).
MAX_FRAME_BYTES = 256 * 1024
#: Longest text of a message, in characters.
MAX_MESSAGE_LENGTH = 100_000
#: Longest name of a session, in characters.
MAX_KEY_LENGTH = 128
#: Longest id of a tool call, in characters.
MAX_CALL_ID_LENGTH = 128
#: Longest text that a person tells the model with a rejection, in characters.
MAX_FEEDBACK_LENGTH = 10_000
#: Longest id that a client gives its message, in characters.
MAX_CLIENT_ID_LENGTH = 128


class ErrorCode(StrEnum):
    """Stable codes of error frames and of REST errors, besides the model's own (`llm.errors`)."""

    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_FIELD = "invalid_field"
    INVALID_TEXT = "invalid_text"
    EMPTY_MESSAGE = "empty_message"
    HELLO_FIRST = "hello_first"
    BINARY_FRAME = "binary_frame"
    BODY_TOO_LARGE = "body_too_large"
    FRAME_TOO_LARGE = "frame_too_large"
    TOO_MANY_FRAMES = "too_many_frames"
    INVALID_SESSION_KEY = "invalid_session_key"
    NOT_FOUND = "not_found"
    SESSION_NOT_FOUND = "session_not_found"
    SESSION_DELETED = "session_deleted"
    PROJECT_NOT_FOUND = "project_not_found"
    RULE_NOT_FOUND = "rule_not_found"
    TOO_MANY_RULES = "too_many_rules"
    MESSAGE_NOT_FOUND = "message_not_found"
    MESSAGE_BEGUN = "message_begun"
    UNKNOWN_TOOL_CALL = "unknown_tool_call"
    UNKNOWN_AGENT = "unknown_agent"
    UNKNOWN_PLAN = "unknown_plan"
    PLAN_IN_PROGRESS = "plan_in_progress"
    AGENTS_ARE_FIXED = "agents_are_fixed"
    APPROVAL_DECIDED = "approval_decided"
    INVALID_ARGUMENTS = "invalid_arguments"
    TOOL_CALL_FINISHED = "tool_call_finished"
    NOT_SIGNED_IN = "not_signed_in"
    #: In capitals because the original's documents have these two so.
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    TOKEN_INVALID = "TOKEN_INVALID"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    RATE_LIMITED = "rate_limited"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    TURN_TIMED_OUT = "turn_timed_out"
    TOO_EXPENSIVE = "too_expensive"
    BUDGET_EXHAUSTED = "budget_exhausted"
    PRICE_UNKNOWN = "price_unknown"
    PROVIDER_KEY_NOT_FOUND = "provider_key_not_found"
    PROVIDER_KEY_UNREADABLE = "provider_key_unreadable"
    PROVIDER_KEY_REFUSED = "provider_key_refused"
    UNKNOWN_PROVIDER = "unknown_provider"
    CANCELLED = "cancelled"
    NOTHING_TO_CANCEL = "nothing_to_cancel"
    TOO_MANY_STEPS = "too_many_steps"
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    TOOL_TIMED_OUT = "tool_timed_out"
    INTERNAL_ERROR = "internal_error"


class CloseCode(IntEnum):
    """Why the server closes a socket. Bad frames never do."""

    TOO_MANY_FRAMES = 1008
    INTERNAL_ERROR = 1011
    NOT_SIGNED_IN = 4401
    NOT_ALLOWED = 4403
    INVALID_SESSION_KEY = 4404
    SESSION_DELETED = 4410
    RATE_LIMITED = 4429


class FrameError(Exception):
    """A frame that cannot be used; becomes an error frame and ends nothing else."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class ClientFrame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class UserMessage(ClientFrame):
    """A message of the user; starts a turn, or waits for the turns before it."""

    type: Literal["user_message"]
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)
    #: Sent by the original's clients. What comes over the socket is the user's word, whatever this says.
    role: Literal["user", "assistant", "system", "tool"] | None = None
    #: The client's own id for it; sent again after a lost connection, the same id is the same message.
    client_message_id: str | None = Field(None, min_length=1, max_length=MAX_CLIENT_ID_LENGTH)
    #: The agent that is to answer, from this message on.
    agent_type: str | None = Field(None, max_length=64)
    #: Stop the turn that is under way and answer this message next, before all others that wait.
    interrupt: bool | None = None


class EditMessage(ClientFrame):
    """Change the text of a message that waits for its turn."""

    type: Literal["edit_message"]
    message_id: UUID
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)


class WithdrawMessage(ClientFrame):
    """Take back a message that waits for its turn; it is never answered and no longer part of the conversation."""

    type: Literal["withdraw_message"]
    message_id: UUID


class Cancel(ClientFrame):
    """Stop a turn; without an id the one that is running, waiting or next. What was shown of it stays."""

    type: Literal["cancel"]
    turn_id: UUID | None = None


class ToolResult(ClientFrame):
    """The result of a tool that ran in the client, or why it did not run. The turn goes on when all are in."""

    type: Literal["tool_result"]
    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    result: Any = None
    error: str | None = Field(None, max_length=MAX_MESSAGE_LENGTH)


class HitlDecision(ClientFrame):
    """The answer to a call that requires approval: let it run, let it run with other arguments, or not at all."""

    type: Literal["hitl_decision"]
    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    decision: Literal["approve", "edit", "reject"]
    #: With `edit`: the arguments to run it with.
    modified_arguments: dict[str, Any] | None = None
    #: With `reject`: what the model is told.
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class HitlResponse(ClientFrame):
    """The same answer in the words of another document of the original."""

    type: Literal["hitl_response"]
    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    action: Literal["approve", "edit", "reject"]
    edited_arguments: dict[str, Any] | None = None
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class PlanDecision(ClientFrame):
    """The answer to a plan that was proposed: carry it out, carry it out with other sub-tasks, or not at all."""

    type: Literal["plan_decision"]
    plan_id: str | None = Field(None, max_length=MAX_CLIENT_ID_LENGTH)
    #: `plan-approval-` and the id of the plan: how some of the original's clients name it.
    approval_request_id: str | None = Field(None, max_length=MAX_CLIENT_ID_LENGTH)
    #: `modify` is another word for `edit`.
    decision: Literal["approve", "edit", "modify", "reject"]
    #: With `edit`: all sub-tasks as they are to be, in the form in which they were proposed.
    modified_subtasks: list[dict[str, Any]] | None = Field(None, max_length=100)
    #: With `reject`: what the model is told.
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class SwitchAgent(ClientFrame):
    """Let another agent answer from here on."""

    type: Literal["switch_agent"]
    agent_type: str = Field(min_length=1, max_length=64)
    #: Sent by the original's clients; it is no message.
    content: str | None = None
    reason: str | None = Field(None, max_length=1000)


class Hello(ClientFrame):
    """The first frame in `codelab.v2`: what this client has. Answered with Welcome, then events follow."""

    type: Literal["hello"]
    #: Number of the last event it has seen; without it the client gets a snapshot.
    after: int | None = Field(None, ge=0, le=2**63 - 1)
    #: Names of the tools that it can run; the model is offered no others. Without it: those that every client has.
    tools: list[Annotated[str, Field(max_length=128)]] | None = Field(None, max_length=100)
    #: Whether it can show a plan and answer it; without a client that can, the model is not offered to make one.
    plans: bool | None = None
    #: A name of its own that stays over reconnects: whoever comes back has its calls again at once.
    client_id: str | None = Field(None, min_length=1, max_length=MAX_CLIENT_ID_LENGTH)


#: What a client asks to have stored.
type Request = (
    UserMessage
    | EditMessage
    | WithdrawMessage
    | ToolResult
    | HitlDecision
    | HitlResponse
    | PlanDecision
    | SwitchAgent
    | Cancel
)
type AnyClientFrame = Annotated[
    UserMessage
    | EditMessage
    | WithdrawMessage
    | ToolResult
    | HitlDecision
    | HitlResponse
    | PlanDecision
    | SwitchAgent
    | Cancel
    | Hello,
    Field(discriminator="type"),
]
CLIENT_FRAME: TypeAdapter[Request | Hello] = TypeAdapter(AnyClientFrame)


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


def decode(text: str) -> Request | Hello:
    """Read a client's frame; raises FrameError with a sentence that names what is wrong."""
    require_clean_text(text)
    data = text.encode()
    if len(data) > MAX_FRAME_BYTES:
        raise FrameError(ErrorCode.FRAME_TOO_LARGE, f"A frame may have at most {MAX_FRAME_BYTES // 1024} KiB.")
    try:
        # Not `validate_json`: it would let NaN and Infinity pass, which are not JSON and which jsonb refuses.
        frame = CLIENT_FRAME.validate_python(from_json(data, allow_inf_nan=False))
    except ValidationError as error:
        raise _frame_error(error) from None
    except ValueError as error:
        raise FrameError(ErrorCode.INVALID_JSON, f"Invalid JSON message: {error}.") from None
    if isinstance(frame, UserMessage | EditMessage):
        require_clean_text(frame.content + (getattr(frame, "client_message_id", None) or ""))
        if not frame.content.strip():
            raise FrameError(ErrorCode.EMPTY_MESSAGE, "The message is empty: write something in `content`.")
    return frame


def require_clean_text(text: str) -> None:
    """Raise FrameError for text that PostgreSQL cannot store (NUL) or UTF-8 cannot carry (lone surrogates)."""
    if "\x00" in text:
        raise FrameError(ErrorCode.INVALID_TEXT, "The text contains the character NUL, which cannot be stored.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FrameError(
                ErrorCode.INVALID_TEXT, "The text contains half of a surrogate pair, which is not valid Unicode."
            ) from None


def _frame_error(error: ValidationError) -> FrameError:
    problem = error.errors(include_url=False, include_input=True)[0]
    kind, place = problem["type"], ".".join(str(part) for part in problem["loc"][1:])
    if kind in ("model_attributes_type", "dict_type"):
        return FrameError(ErrorCode.NOT_AN_OBJECT, 'Invalid JSON message: a frame is an object such as {"type": …}.')
    if kind == "union_tag_not_found":
        return FrameError(ErrorCode.UNKNOWN_TYPE, "Unknown message type: None. A frame needs a `type`.")
    if kind == "union_tag_invalid":
        tag = str(problem["ctx"]["tag"])[:100].encode("utf-8", "replace").decode()
        return FrameError(ErrorCode.UNKNOWN_TYPE, f"Unknown message type: {tag}")
    if kind == "string_too_short" and place == "content":
        return FrameError(ErrorCode.EMPTY_MESSAGE, "The message is empty: write something in `content`.")
    return FrameError(ErrorCode.INVALID_FIELD, f"Field `{place}` is not usable: {problem['msg']}.")
