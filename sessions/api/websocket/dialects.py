"""The frames of the original's protocol for each event; pure, from the log to the wire.

Two dialects differ in what they stream: `messages` sends whole messages only (the original's editor makes a bubble of
every frame), `tokens` sends pieces as they come. What a client did not ask for is left out, never renamed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sessions.api.shown_text import MAX_TEXT_BYTES, ShownText, split_text
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, MessageRole, ToolCall, ToolCallStatus
from sessions.protocol import server
from sessions.protocol.client import UserMessage
from sessions.protocol.codes import ErrorCode
from sessions.protocol.server import ServerFrame, encode, error_frame
from sessions.results import AcceptedMessage

PLAN_KINDS = (EventKind.PLAN_PROPOSED, EventKind.PLAN_DECIDED, EventKind.PLAN_UPDATED, EventKind.PLAN_FINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one socket asked for."""

    #: Pieces of messages as they come, before the whole.
    tokens: bool
    #: Which agent answers; left out where the first frame must be the answer.
    agents: bool
    #: Plans and their progress; a client that asks for them can decide on them.
    plans: bool = False
    #: Every event as it is, and nothing of the above: `codelab.v2`.
    events: bool = False


def frames_of(event: LoggedEvent, dialect: Dialect, shown: ShownText) -> Iterator[str]:
    """Yield the frames of an event in a dialect, as JSON text; most events have one or none.

    `shown` is what the socket was sent before. The last frame has the event's number, so a client that reconnects with
    it has received all of them.
    """
    payload = event.payload
    if dialect.events:
        yield server.encode_event(number=event.number, first=event.first, kind=event.kind, payload=payload)
    elif event.kind == EventKind.TEXT_DELTA:
        if not dialect.tokens:
            return
        message_id, text = payload["message_id"], payload["text"]
        if payload.get("again"):
            # Another worker repeats the text, and these clients cannot retract any: the rest comes at its end.
            shown.hold_back(message_id)
            return
        shown.add(message_id, text)
        yield from _pieces(text, payload, number=event.number)
    elif event.kind == EventKind.MESSAGE_ADDED:
        if payload["role"] == MessageRole.ASSISTANT:
            yield from _message(event, dialect, shown)
    elif dialect.plans and event.kind in PLAN_KINDS:
        yield from map(encode, _of_a_plan(event))
    elif frame := _frame_of(event, dialect):
        yield encode(frame)


def _pieces(text: str, payload: dict[str, Any], *, number: int | None) -> Iterator[str]:
    """Yield the pieces of a message that show a text; the last one has the number."""
    *parts, last = split_text(text)
    names = {"turn_id": payload["turn_id"], "message_id": payload["message_id"]}
    for part in parts:
        yield server.encode_piece(number=None, token=part, **names)
    yield server.encode_piece(number=number, token=last, **names)


def _message(event: LoggedEvent, dialect: Dialect, shown: ShownText) -> Iterator[str]:
    """Yield the frames of a complete message of the assistant: what was held back of its pieces, then the whole."""
    payload = event.payload
    # After a part of a plan's work the next sub-task follows, or an answer of the agent that proposed the plan.
    is_continued = bool(payload.get("tool_calls")) or "subtask_id" in payload
    # An interrupted message would look like an answer; the error that follows reports it. A message that requests tools
    # is not final: without text it would be an empty bubble, and a client that has its pieces would get them twice.
    has_whole = not payload.get("interrupted") and not (is_continued and (dialect.tokens or not payload["content"]))
    rest = shown.rest(payload["message_id"], payload["content"])
    if rest:
        yield from _pieces(rest, payload, number=None if has_whole else event.number)
    if has_whole:
        yield from map(encode, _whole(event, tokens=dialect.tokens, is_final=not is_continued))


def _whole(event: LoggedEvent, *, tokens: bool, is_final: bool) -> Iterator[ServerFrame]:
    """Yield the frames that hold the whole text of a message, the last one with the event's number."""
    payload = event.payload
    # Whole messages have the text under both names, as in the original. Who gets pieces has it in `token` already.
    *parts, last = split_text(payload["content"], MAX_TEXT_BYTES if tokens else MAX_TEXT_BYTES // 2)
    names = {"turn_id": payload["turn_id"], "message_id": payload["message_id"]}
    for part in parts:
        yield server.AssistantMessage(token="" if tokens else part, content=part, is_final=False, **names)
    yield server.AssistantMessage(
        number=event.number, token="" if tokens else last, content=last, is_final=is_final, **names
    )


def _frame_of(event: LoggedEvent, dialect: Dialect) -> ServerFrame | None:
    payload = event.payload
    match event.kind:
        case EventKind.AGENT_SWITCHED if dialect.agents or payload.get("by_user"):
            return server.AgentSwitched(
                number=event.number,
                content=f"Switched to {payload['to_agent']} agent",
                from_agent=payload["from_agent"],
                to_agent=payload["to_agent"],
                reason=payload["reason"],
                metadata={key: payload[key] for key in ("from_agent", "to_agent", "reason", "confidence")},
                # It is the whole answer to a `switch_agent`.
                is_final=bool(payload.get("by_user")),
            )
        case EventKind.TURN_FAILED:
            return _end(event, payload["error_code"], payload["error"], retry_after=payload.get("retry_after"))
        case EventKind.TURN_CANCELLED:
            return _end(event, ErrorCode.CANCELLED, "The answer was stopped.")
    return None


def call_frame(call: ToolCall, number: int | None) -> server.ToolCallRequest:
    """Return the frame that sends a call to the one client that runs it, or asks its user about it.

    Not made of an event, because a call may be sent again without one.
    """
    return server.ToolCallRequest(
        number=number,
        turn_id=str(call.turn_id),
        call_id=call.call_id,
        tool_name=call.tool,
        # Never an empty object: the original's editor takes it for a missing one.
        arguments=call.arguments or {"_": ""},
        requires_approval=call.status == ToolCallStatus.ASKED,
        unknown=True if call.unknown_since else None,
        reason=call.reason if call.unknown_since else None,
        edited=True if call.edited else None,
    )


def _end(event: LoggedEvent, code: str, text: str, **more: Any) -> server.Error:
    return error_frame(str(code), text, number=event.number, turn_id=event.payload["turn_id"], is_final=True, **more)


def _of_a_plan(event: LoggedEvent) -> Iterator[ServerFrame]:
    """Yield the frames of the original's plans; a change of a sub-task in both forms that its clients know."""
    payload, number = event.payload, event.number
    match event.kind:
        case EventKind.PLAN_PROPOSED:
            yield server.PlanNotification(
                number=number,
                turn_id=payload["turn_id"],
                content=payload["goal"] or "A plan waits for your approval.",
                metadata=_proposal(payload),
            )
        case EventKind.PLAN_UPDATED:
            yield from _of_a_subtask(payload)
            key = "error" if payload["status"] == "failed" else "result"
            progress = {"plan_id": payload["plan_id"], "step_id": payload["subtask_id"], "status": payload["status"]}
            yield server.PlanProgress(number=number, **progress, **{key: payload["result"] or None})
        case EventKind.PLAN_FINISHED:
            is_complete = payload["status"] == "completed"
            metadata = {
                "plan_id": payload["plan_id"],
                "plan_status": "complete" if is_complete else payload["status"],
                "total_subtasks": payload["total"],
                "completed": payload["completed"],
                "failed": payload["failed"],
            }
            yield server.PlanCompleted(number=number, metadata=metadata, is_final=is_complete)


def _proposal(payload: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "description", "agent", "estimated_time", "dependencies")
    subtasks = [{name: each[name] for name in names if name in each} for each in payload["subtasks"]]
    return {
        "plan_id": payload["plan_id"],
        "subtask_count": len(subtasks),
        "subtasks": subtasks,
        "requires_approval": True,
    }


def _of_a_subtask(payload: dict[str, Any]) -> Iterator[ServerFrame]:
    metadata = {"subtask_id": payload["subtask_id"], "subtask_status": payload["status"]}
    match payload["status"]:
        case "in_progress":
            content = f"Sub-task {payload['subtask_id']} has begun ({payload['agent']})"
            yield server.SubtaskStarted(content=content, metadata={**metadata, "agent": payload["agent"]})
        case "completed":
            yield server.SubtaskCompleted(metadata={**metadata, "completion_reason": payload["result"]})


def accepted_frame(accepted: AcceptedMessage, frame: UserMessage) -> server.Accepted:
    """Return the acknowledgement of a message; from here on it cannot be lost."""
    return server.Accepted(
        ref=frame.ref,
        number=accepted.number,
        turn_id=str(accepted.turn_id),
        message_id=str(accepted.message_id),
        client_message_id=frame.client_message_id,
        repeated=accepted.repeated,
    )
