"""How a conversation is written down: each message as a row and as the event that announces it.

Only for `sessions.turns.attempts`, which holds the lock on the session and knows why something is said.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    MAX_TITLE_LENGTH,
    PIECES,
    Event,
    EventKind,
    Message,
    MessageRole,
    Session,
    SubTask,
    ToolCall,
    Turn,
    new_id,
)
from sessions.protocol import MAX_CALL_ID_LENGTH
from sessions.results import StepResult

_AT_WORK = """
    SELECT subtask.* FROM agent_sessions_subtask AS subtask
    JOIN agent_sessions_plan AS plan ON plan.id = subtask.plan_id
    WHERE plan.session_id = %s AND plan.status = 'in_progress' AND subtask.status = 'in_progress'
"""


def current_subtask(session: Session) -> SubTask | None:
    """Return the sub-task that is being done, where a plan is being carried out: what is said now is a part of it."""
    return next(iter(SubTask.objects.raw(_AT_WORK, [session.pk])), None)


def subtask_fields(subtask: SubTask | None) -> dict[str, str]:
    """Return how events name the sub-task that a message is a part of."""
    return {"subtask_id": subtask.key} if subtask else {}


def message_event(message_id: uuid.UUID, turn_id: uuid.UUID, role: MessageRole, content: str, **more: Any) -> NewEvent:
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
    result: StepResult,
    *,
    tool_calls: list[dict[str, Any]] | None = None,
    interrupted: bool = False,
    subtask: SubTask | None = None,
) -> list[LoggedEvent]:
    """Store what a model call said, and the calls it asked for; `interrupted` when it did not come to its end.

    With `subtask` it is a part of that one's work, and not of the conversation with the user.
    """
    more: dict[str, Any] = {"tool_calls": tool_calls} if tool_calls else {}
    if result.reasoning:
        more["reasoning"] = result.reasoning
    if interrupted:
        more["interrupted"] = True
    added = message_event(
        result.message_id, turn.pk, MessageRole.ASSISTANT, result.text, **more, **subtask_fields(subtask)
    )
    events = log.append(session, [added])
    message = Message(
        id=result.message_id, session=session, turn=turn, role=MessageRole.ASSISTANT, content=result.text, **more
    )
    message.subtask = subtask
    store_message(message, events[0])
    return events


def store_result(
    session: Session,
    turn_id: uuid.UUID,
    call_id: str,
    content: str,
    *,
    subtask: SubTask | None = None,
    behind: Sequence[NewEvent] = (),
) -> list[LoggedEvent]:
    """Store what a model is told of a call that it asked for, `behind` other events."""
    message = Message(id=new_id(), session=session, turn_id=turn_id, role=MessageRole.TOOL, content=content)
    message.tool_call_id, message.subtask = call_id, subtask
    added = message_event(
        message.pk, turn_id, MessageRole.TOOL, content, tool_call_id=call_id, **subtask_fields(subtask)
    )
    events = log.append(session, [*behind, added])
    store_message(message, events[-1])
    return events


def unfinished_texts(session: Session, turn: Turn) -> list[dict[str, str]]:
    """Return what a turn's present attempt has shown of messages that are not stored yet, with any `reasoning`."""
    stored = set(map(str, turn.messages.values_list("pk", flat=True)))
    deltas = Event.objects.filter(
        session=session, number__gt=turn.position, turn=turn, kind__in=PIECES, attempt=turn.attempt
    )
    shown: dict[str, dict[str, list[str]]] = {}
    for kind, payload in deltas.order_by("number").values_list("kind", "payload"):
        if payload["message_id"] not in stored:
            said = shown.setdefault(payload["message_id"], {"text": []})
            said.setdefault("text" if kind == EventKind.TEXT_DELTA else "reasoning", []).append(payload["text"])
    return [
        {"turn_id": str(turn.pk), "message_id": message_id} | {name: "".join(texts) for name, texts in said.items()}
        for message_id, said in shown.items()
    ]


def store_unfinished(session: Session, turn: Turn) -> list[LoggedEvent]:
    """Store what a turn's present attempt had shown of an unfinished message, as an interrupted one."""
    events = []
    subtask = current_subtask(session)
    for shown in unfinished_texts(session, turn):
        reasoning = shown.get("reasoning", "")
        result = StepResult(message_id=uuid.UUID(shown["message_id"]), text=shown["text"], reasoning=reasoning)
        events += store_step(session, turn, result, interrupted=True, subtask=subtask)
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
