"""How a conversation is written down: each message as a row and as the event that announces it.

Only for `sessions.lifecycle`, which holds the lock on the session and knows why something is said.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from agents.roles import UNASSIGNED
from sessions import log
from sessions.changes import Step
from sessions.log import LoggedEvent, NewEvent
from sessions.models import (
    MAX_TITLE_LENGTH,
    Event,
    EventKind,
    Message,
    MessageRole,
    Session,
    ToolCall,
    Turn,
    new_id,
)
from sessions.protocol import MAX_CALL_ID_LENGTH


def message_added(message_id: uuid.UUID, turn_id: uuid.UUID, role: MessageRole, content: str, **more: Any) -> NewEvent:
    """Return the event that announces a message."""
    payload = {"message_id": str(message_id), "turn_id": str(turn_id), "role": str(role), "content": content, **more}
    return NewEvent(kind=EventKind.MESSAGE_ADDED, turn_id=turn_id, payload=payload)


def store_message(message: Message, event: LoggedEvent) -> None:
    """Store a message in the place of the event that announces it."""
    message.number = event.number
    message.save(force_insert=True)


def store_step(
    session: Session,
    turn: Turn,
    step: Step,
    *,
    tool_calls: list[dict[str, Any]] | None = None,
    interrupted: bool = False,
) -> list[LoggedEvent]:
    """Store what a model call said, and the calls it asked for; `interrupted` when it did not come to its end."""
    more: dict[str, Any] = {"tool_calls": tool_calls} if tool_calls else {}
    if interrupted:
        more["interrupted"] = True
    events = log.append(session, [message_added(step.message_id, turn.pk, MessageRole.ASSISTANT, step.text, **more)])
    message = Message(
        id=step.message_id, session=session, turn=turn, role=MessageRole.ASSISTANT, content=step.text, **more
    )
    store_message(message, events[0])
    return events


def shown_texts(session: Session, turn: Turn) -> list[dict[str, str]]:
    """Return what a turn's present attempt has shown of messages that are not stored yet."""
    stored = set(map(str, turn.messages.values_list("pk", flat=True)))
    deltas = Event.objects.filter(
        session=session, number__gt=turn.position, turn=turn, kind=EventKind.TEXT_DELTA, attempt=turn.attempt
    )
    shown: dict[str, list[str]] = {}
    for payload in deltas.order_by("number").values_list("payload", flat=True):
        if payload["message_id"] not in stored:
            shown.setdefault(payload["message_id"], []).append(payload["text"])
    return [
        {"turn_id": str(turn.pk), "message_id": message_id, "text": "".join(texts)}
        for message_id, texts in shown.items()
    ]


def store_shown(session: Session, turn: Turn) -> list[LoggedEvent]:
    """Store what a turn's present attempt had shown of an unfinished message, as an interrupted one."""
    events = []
    for shown in shown_texts(session, turn):
        step = Step(message_id=uuid.UUID(shown["message_id"]), text=shown["text"])
        events += store_step(session, turn, step, interrupted=True)
    return events


def make_call_ids_unique(session: Session, calls: Sequence[ToolCall]) -> None:
    """Rename calls with an id that the session has seen, as some providers count from zero, or that is too long."""
    ids = [call.call_id for call in calls]
    seen = set(ToolCall.objects.filter(turn__session=session, call_id__in=ids).values_list("call_id", flat=True))
    for call in calls:
        if call.call_id in seen or len(call.call_id) > MAX_CALL_ID_LENGTH:
            call.call_id = f"call_{new_id().hex}"
        seen.add(call.call_id)


def give_title(session: Session, content: str) -> None:
    """Call a session that has no title yet by the beginning of its first message."""
    if session.title:
        return
    words = " ".join(content.split())
    session.title = words if len(words) <= MAX_TITLE_LENGTH else words[: MAX_TITLE_LENGTH - 1] + "…"
    session.save(update_fields=["title"])


def switch_agent(
    session: Session,
    agent: str,
    *,
    reason: str,
    confidence: str,
    turn_id: uuid.UUID | None = None,
    by_user: bool = False,
) -> NewEvent:
    """Let another agent answer from here on, in a session that the caller has locked; return the event of it.

    A user's choice keeps later messages from being routed, unless it is the orchestrator, who routes.
    """
    before, session.current_agent = session.current_agent, agent
    session.pinned = by_user and agent != UNASSIGNED
    session.save(update_fields=["current_agent", "pinned"])
    payload = {"from_agent": before, "to_agent": agent, "reason": reason, "confidence": confidence}
    return NewEvent(kind=EventKind.AGENT_SWITCHED, turn_id=turn_id, payload=payload)
