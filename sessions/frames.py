"""Which frames of the original's protocol tell of an event; pure, from the log to the wire.

Two dialects differ in what they stream: `messages` sends whole messages only (the original's editor makes a bubble of
every frame), `tokens` sends pieces as they come. What a client has not asked for is left out, never renamed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sessions.log import LoggedEvent
from sessions.models import EventKind, MessageRole, ToolCall, ToolCallStatus
from sessions.protocol import (
    AgentSwitched,
    AssistantMessage,
    Error,
    ErrorCode,
    EventFrame,
    ServerFrame,
    ToolCallRequest,
    error_frame,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one socket wants to be told."""

    #: Pieces of messages as they come, before the whole.
    tokens: bool
    #: Which agent answers; held back where the first frame must be the answer.
    agents: bool
    #: Every event as it is, and nothing of the above: `codelab.v2`.
    events: bool = False


def frame_of(event: LoggedEvent, dialect: Dialect) -> ServerFrame | None:
    """Return the frame that tells of an event in a dialect, or None when it has none."""
    payload = event.payload
    if dialect.events:
        return EventFrame(number=event.number, first=event.first, kind=event.kind, payload=payload)
    match event.kind:
        # What is said again, after its worker went away, comes as a whole: these clients cannot take text back.
        case EventKind.TEXT_DELTA if dialect.tokens and not payload.get("again"):
            return AssistantMessage(
                number=event.number,
                turn_id=payload["turn_id"],
                message_id=payload["message_id"],
                token=payload["text"],
                is_final=False,
            )
        case EventKind.MESSAGE_ADDED if payload["role"] == MessageRole.ASSISTANT:
            return _whole_message(event, dialect)
        case EventKind.AGENT_SWITCHED if dialect.agents or payload.get("by_user"):
            return AgentSwitched(
                number=event.number,
                content=f"Switched to {payload['to_agent']} agent",
                from_agent=payload["from_agent"],
                to_agent=payload["to_agent"],
                reason=payload["reason"],
                metadata={key: payload[key] for key in ("from_agent", "to_agent", "reason", "confidence")},
                # It is the whole answer to a wish for another agent.
                is_final=bool(payload.get("by_user")),
            )
        case EventKind.TURN_FAILED:
            return _end(event, payload["error_code"], payload["error"])
        case EventKind.TURN_CANCELLED:
            return _end(event, ErrorCode.CANCELLED, "The answer was stopped.")
    return None


def call_frame(call: ToolCall, number: int | None) -> ToolCallRequest:
    """Return the frame that offers a call to the one client that shall run it, or ask its user about it.

    Not made of an event: when it is offered again, nothing has happened.
    """
    return ToolCallRequest(
        number=number,
        turn_id=str(call.turn_id),
        call_id=call.call_id,
        tool_name=call.tool,
        # Never an empty object: the original's editor takes it for a missing one.
        arguments=call.arguments or {"_": ""},
        requires_approval=call.status == ToolCallStatus.ASKED,
    )


def _whole_message(event: LoggedEvent, dialect: Dialect) -> AssistantMessage | None:
    payload = event.payload
    asks_for_tools = bool(payload.get("tool_calls"))
    # An interrupted message is told of by the error that follows, or it would look like an answer. A message that
    # asks for tools is not final, the calls after it are: without text it would be an empty bubble, and whoever has
    # had its pieces would have them twice.
    if payload.get("interrupted") or (asks_for_tools and (dialect.tokens or not payload["content"])):
        return None
    return AssistantMessage(
        number=event.number,
        turn_id=payload["turn_id"],
        message_id=payload["message_id"],
        token=payload["content"],
        content=payload["content"],
        is_final=not asks_for_tools,
    )


def _end(event: LoggedEvent, code: str, text: str) -> Error:
    return error_frame(str(code), text, number=event.number, turn_id=event.payload["turn_id"], is_final=True)
