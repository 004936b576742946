"""The frames that clients send, and their decoder, which trusts nothing in a frame and ignores unknown fields."""

import json
import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from agents.client_tools import MAX_TOOLS
from sessions.protocol.client_tools import ResultPart, ToolEntry, find_tools_problem
from sessions.protocol.codes import (
    MAX_CALL_ID_LENGTH,
    MAX_CLIENT_ID_LENGTH,
    MAX_FEEDBACK_LENGTH,
    MAX_FRAME_BYTES,
    MAX_IMAGES,
    MAX_MESSAGE_LENGTH,
    MAX_REF_LENGTH,
    MAX_RESULT_PARTS,
    ErrorCode,
    FrameError,
)
from sessions.protocol.workspace import Workspace

#: What a number looks like that may be larger than any float.
LARGE_NUMBER = re.compile(rb"[eE]\+?[0-9]{2}|[0-9]{300}")

#: NUL in a JSON text, but not a backslash before `u0000`.
ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

EMPTY_MESSAGE = "The message is empty: write something in `content`."


#: When a message of the user counts: after the turns before it, at once instead of the open turn, or at the open turn's
#: next step.
type When = Literal["queue", "interrupt", "steer"]


class ClientFrame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    #: In `codelab.v2`: a name of this frame, which its answer (`accepted` or `error`) repeats.
    ref: str | None = Field(None, min_length=1, max_length=MAX_REF_LENGTH)


class UserMessage(ClientFrame):
    """A message of the user. It starts a turn, waits for earlier turns, or goes into the open one."""

    type: Literal["user_message"]
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)
    #: The original's clients send it. The server ignores it: each message over the socket is the user's.
    role: Literal["user", "assistant", "system", "tool"] | None = None
    #: The client's own id. A message that is sent again with the same id is stored once.
    client_message_id: str | None = Field(None, min_length=1, max_length=MAX_CLIENT_ID_LENGTH)
    #: The agent that answers from this message on.
    agent_type: str | None = Field(None, max_length=64)
    #: `queue`: wait for the turns before it. `interrupt`: stop the open turn, and answer this message before all others
    #: that wait. `steer`: the next step of the open turn reads it.
    when: When | None = None
    #: Without `when`: true is `interrupt`.
    interrupt: bool | None = None
    #: Ids of images that were uploaded to this session. The model sees them with the text.
    images: list[UUID] | None = Field(None, max_length=MAX_IMAGES)
    #: The message that began the session's newest turn, which has ended or is stopped by `interrupt`. This message
    #: takes its place: the messages of that turn leave the conversation.
    replaces: UUID | None = None


def when_of(when: When | None, interrupt: bool | None) -> When:
    """Return when a message counts, from both fields that can say so."""
    return when or ("interrupt" if interrupt else "queue")


class EditMessage(ClientFrame):
    """Change the text of a message that waits for its turn, or for the next step of the open one."""

    type: Literal["edit_message"]
    message_id: UUID
    content: str = Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)


class WithdrawMessage(ClientFrame):
    """Withdraw a message that waits for its turn, or for the next step of the open one.

    It leaves the conversation and is never answered.
    """

    type: Literal["withdraw_message"]
    message_id: UUID


class Cancel(ClientFrame):
    """Stop a turn; without an id the one that runs, waits or is next. Text that clients have seen stays."""

    type: Literal["cancel"]
    turn_id: UUID | None = None


class ToolResult(ClientFrame):
    """The result of a tool that ran in the client, or why it did not run. The turn continues after the last one."""

    type: Literal["tool_result"]
    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    #: Any JSON; docs/protocol/tool-results.json has the shapes for each tool of the server's.
    result: Any = None
    #: Why it could not run. Wins over the others.
    error: str | None = Field(None, max_length=MAX_MESSAGE_LENGTH)
    #: Texts, images and files, alone or beside a result.
    parts: list[ResultPart] | None = Field(None, max_length=MAX_RESULT_PARTS)
    #: The tool ran and failed: what it gives is the reason.
    is_error: bool | None = None


class HitlDecision(ClientFrame):
    """The decision on a call that requires approval: run it, run it with other arguments, or reject it."""

    type: Literal["hitl_decision"]
    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    decision: Literal["approve", "edit", "reject"]
    #: With `edit`: the arguments to run it with.
    modified_arguments: dict[str, Any] | None = None
    #: With `reject`: text for the model.
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class HitlResponse(ClientFrame):
    """The same as `hitl_decision`, with the field names of another document of the original."""

    type: Literal["hitl_response"]
    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    action: Literal["approve", "edit", "reject"]
    edited_arguments: dict[str, Any] | None = None
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class PlanDecision(ClientFrame):
    """The decision on a proposed plan: carry it out, carry it out with other sub-tasks, or reject it."""

    type: Literal["plan_decision"]
    plan_id: str | None = Field(None, max_length=MAX_CLIENT_ID_LENGTH)
    #: `plan-approval-` and the id of the plan: some of the original's clients send this instead.
    approval_request_id: str | None = Field(None, max_length=MAX_CLIENT_ID_LENGTH)
    #: `modify` means `edit`.
    decision: Literal["approve", "edit", "modify", "reject"]
    #: With `edit`: all sub-tasks, in the form of the proposal.
    modified_subtasks: list[dict[str, Any]] | None = Field(None, max_length=100)
    #: With `reject`: text for the model.
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class SwitchAgent(ClientFrame):
    """Let another agent answer from now on."""

    type: Literal["switch_agent"]
    agent_type: str = Field(min_length=1, max_length=64)
    #: The original's clients send it. It is not a message.
    content: str | None = None
    reason: str | None = Field(None, max_length=1000)


class SetWorkspace(ClientFrame):
    """What the project and the machine are like now. Replaces all that was said of them before."""

    type: Literal["workspace"]
    workspace: Workspace


class Hello(ClientFrame):
    """The first frame in `codelab.v2`: what the client has and can do. The server answers with Welcome and events."""

    type: Literal["hello"]
    #: Number of the last event that the client has seen; without it the client gets a snapshot.
    after: int | None = Field(None, ge=0, le=2**63 - 1)
    #: The tools that the client can run, by a name that the server knows or with a definition. Models get no others.
    #: Without it: those of every client.
    tools: list[ToolEntry] | None = Field(None, max_length=MAX_TOOLS)
    #: Whether the client can show and decide plans. Models make plans only when a client can.
    plans: bool | None = None
    #: The project and the machine that the client works on; the same as a frame `workspace`.
    workspace: Workspace | None = None
    #: A stable name: a client that reconnects gets its tool calls back at once.
    client_id: str | None = Field(None, min_length=1, max_length=MAX_CLIENT_ID_LENGTH)
    #: Whether a session that does not exist yet begins with its first message, not with this frame.
    lazy: bool = False


#: Frames whose effects are stored.
Request = (
    UserMessage
    | EditMessage
    | WithdrawMessage
    | ToolResult
    | HitlDecision
    | HitlResponse
    | PlanDecision
    | SwitchAgent
    | SetWorkspace
    | Cancel
)
type AnyClientFrame = Annotated[Request | Hello, Field(discriminator="type")]
CLIENT_FRAME: TypeAdapter[Request | Hello] = TypeAdapter(AnyClientFrame)


def decode_json(data: bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError, also for numbers that jsonb refuses: NaN, Infinity, 1e400."""
    value = from_json(data, allow_inf_nan=False)
    if LARGE_NUMBER.search(data):
        # The decoder turns a float that is too large into infinity.
        json.dumps(value, allow_nan=False)
    return value


def decode(text: str) -> Request | Hello:
    """Return a client's frame. Raises FrameError with a sentence that names the problem."""
    require_clean_text(text)
    data = text.encode()
    if len(data) > MAX_FRAME_BYTES:
        raise FrameError(ErrorCode.FRAME_TOO_LARGE, f"A frame may have at most {MAX_FRAME_BYTES // 1024} KiB.")
    value: Any = None
    try:
        frame = CLIENT_FRAME.validate_python(value := decode_json(data))
    except ValidationError as error:
        raise _frame_error(error, value) from None
    except ValueError as error:
        raise FrameError(ErrorCode.INVALID_JSON, f"Invalid JSON message: {error}.") from None
    # The output of a tool may have any character.
    if not isinstance(frame, ToolResult) and ESCAPED_NUL.search(data):
        require_clean_text("\x00", frame.ref)
    if isinstance(frame, UserMessage | EditMessage) and not frame.content.strip():
        raise FrameError(ErrorCode.EMPTY_MESSAGE, EMPTY_MESSAGE, ref=frame.ref)
    return frame


def require_clean_text(text: str, ref: str | None = None) -> None:
    """Raise FrameError for text that PostgreSQL cannot store (NUL) or UTF-8 cannot encode (lone surrogates)."""
    if "\x00" in text:
        raise FrameError(
            ErrorCode.INVALID_TEXT, "The text contains the character NUL, which cannot be stored.", ref=ref
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FrameError(
                ErrorCode.INVALID_TEXT, "The text contains half of a surrogate pair, which is not valid Unicode."
            ) from None


def _frame_error(error: ValidationError, value: Any) -> FrameError:
    """Return what is wrong with a frame, with its `ref` if that is usable."""
    code, text = _problem(error)
    ref = value.get("ref") if isinstance(value, dict) else None
    is_usable = isinstance(ref, str) and 0 < len(ref) <= MAX_REF_LENGTH and "\x00" not in ref
    return FrameError(code, text, ref=ref if is_usable else None)


def _problem(error: ValidationError) -> tuple[ErrorCode, str]:
    problem = error.errors(include_url=False, include_input=True)[0]
    # Which of two types an entry has is not a part of its place.
    tags = ("name", "definition") if problem["loc"][1:2] == ("tools",) else ()
    kind, place = problem["type"], ".".join(str(part) for part in problem["loc"][1:] if part not in tags)
    if problem["loc"][1:2] == ("tools",) and (sentence := find_tools_problem(problem)):
        return ErrorCode.INVALID_TOOLS, sentence
    if problem["loc"][1:2] == ("parts",):
        return ErrorCode.INVALID_FIELD, f"Field `{place}` is not usable: {problem['msg']}."
    if kind in ("model_attributes_type", "dict_type"):
        return ErrorCode.NOT_AN_OBJECT, 'Invalid JSON message: a frame is an object such as {"type": …}.'
    if kind == "union_tag_not_found":
        return ErrorCode.UNKNOWN_TYPE, "Unknown message type: None. A frame needs a `type`."
    if kind == "union_tag_invalid":
        tag = str(problem["ctx"]["tag"])[:100].encode("utf-8", "replace").decode()
        return ErrorCode.UNKNOWN_TYPE, f"Unknown message type: {tag}"
    if kind == "string_too_short" and place == "content":
        return ErrorCode.EMPTY_MESSAGE, EMPTY_MESSAGE
    code = ErrorCode.INVALID_WORKSPACE if place.partition(".")[0] == "workspace" else ErrorCode.INVALID_FIELD
    return code, f"Field `{place}` is not usable: {problem['msg']}."
