"""The frames that clients send, and how one is read: here nothing is trusted, and unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from sessions.protocol.codes import (
    MAX_CALL_ID_LENGTH,
    MAX_CLIENT_ID_LENGTH,
    MAX_FEEDBACK_LENGTH,
    MAX_FRAME_BYTES,
    MAX_IMAGES,
    MAX_MESSAGE_LENGTH,
    ErrorCode,
    FrameError,
)


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
    #: Ids of pictures that were uploaded to this session, to be shown to the model with the text.
    images: list[UUID] | None = Field(None, max_length=MAX_IMAGES)


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
