"""The messages of a conversation, each stored as a row and announced by an event.

Callers have locked the session. This module never changes a turn.
"""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agents import loop
from agents.approvals import digest
from agents.display import show_changed
from agents.roles import UNASSIGNED
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
from sessions.protocol.codes import MAX_CALL_ID_LENGTH
from sessions.results import StepResult
from sessions.statements import insert, prepared, save
from sessions.turns.rows import current_subtask

#: The calls of a turn's newest answers.
_NEWEST_CALLS = """
    SELECT tool_calls FROM agent_sessions_message WHERE turn_id = %s AND role = 'assistant'
    ORDER BY number DESC LIMIT %s
"""


def subtask_fields(subtask: SubTask | None) -> dict[str, str]:
    """Return how events name a message's sub-task."""
    return {"subtask_id": subtask.key} if subtask else {}


def store_message(
    message: Message, *, before: Sequence[NewEvent] = (), after: Sequence[NewEvent] = (), **details: Any
) -> list[LoggedEvent]:
    """Store a new message and the event that announces it, between other events. Return all of these events.

    `details` are added to the announcement.
    """
    payload = {
        "message_id": str(message.pk),
        "turn_id": str(message.turn_id),
        "role": str(message.role),
        "content": message.content,
    }
    payload |= details | subtask_fields(message.subtask)
    added = NewEvent(kind=EventKind.MESSAGE_ADDED, turn_id=message.turn_id, payload=payload)
    events = log.append(message.session, [*before, added, *after])
    message.number = events[len(before)].number
    message.owner_id = message.session.owner_id
    insert(message)
    return events


def store_step(
    session: Session,
    turn: Turn,
    result: StepResult,
    *,
    agent: str = "",
    tool_calls: list[dict[str, Any]] | None = None,
    interrupted: bool = False,
    subtask: SubTask | None = None,
    provider_fields: str = "",
) -> list[LoggedEvent]:
    """Store the reply of a model call, the pieces first, with the tool calls in it. `interrupted`: it is incomplete.

    `agent` has written it; without it the session's agent has. With `subtask` it belongs to that sub-task and not to
    the conversation with the user. No event has `provider_fields`, which only the provider understands.
    """
    details: dict[str, Any] = {"tool_calls": tool_calls} if tool_calls else {}
    if result.reasoning:
        details["reasoning"] = result.reasoning
    if interrupted:
        details["interrupted"] = True
    message = Message(id=result.message_id, session=session, turn=turn, subtask=subtask, content=result.text, **details)
    message.role = MessageRole.ASSISTANT
    message.provider_fields = provider_fields
    if not session.is_completion:
        message.author = _author(session, turn, result, agent or session.current_agent)
        details |= message.author
    if tool_calls and not session.is_completion:
        details["tool_calls"] = calls_of(message)
    return store_message(message, before=result.pieces, **details)


def store_last_words(session: Session, turn: Turn, agent: str, result: StepResult) -> list[LoggedEvent]:
    """Store a text of the server's tools as an answer, in one piece: some clients show nothing else."""
    piece = {"turn_id": str(turn.pk), "message_id": str(result.message_id), "text": result.text}
    whole = NewEvent(kind=EventKind.TEXT_DELTA, turn_id=turn.pk, payload=piece, attempt=turn.attempt)
    return store_step(session, turn, replace(result, pieces=(whole,)), agent=agent)


def _author(session: Session, turn: Turn, result: StepResult, agent: str) -> dict[str, Any]:
    """Return who has written an answer, and how much of the model's window was used."""
    author: dict[str, Any] = {"agent": agent, "mode": session.mode}
    # A step whose worker is gone has no calls here. The orchestrator's own words need no model.
    if model := result.calls[-1].model if result.calls else (turn.model if agent != UNASSIGNED else ""):
        author["model"] = model
    if result.window and (used := result.usage.input_tokens + result.usage.output_tokens):
        author["context"] = {"used": used, "window": result.window}
    return author


def store_result(
    session: Session,
    turn_id: uuid.UUID,
    call_id: str,
    content: str,
    *,
    subtask: SubTask | None = None,
    before: Sequence[NewEvent] = (),
    images: Sequence[Mapping[str, Any]] = (),
) -> list[LoggedEvent]:
    """Store the result of a tool call as the model gets it."""
    message = Message(session=session, turn_id=turn_id, subtask=subtask, role=MessageRole.TOOL, content=content)
    message.tool_call_id = call_id
    details: dict[str, Any] = {"tool_call_id": call_id}
    if images:
        message.images = details["images"] = list(images)
    return store_message(message, before=before, **details)


def newest_calls(turn: Turn) -> list[list[dict[str, Any]]]:
    """Return the calls of a turn's newest answers, as many as `require_progress` compares, the newest first."""
    return [json.loads(calls) for (calls,) in prepared(_NEWEST_CALLS, turn.pk, loop.MAX_EQUAL_CALLS - 1)]


def require_progress(turn: Turn, calls: Sequence[str], answers: Sequence[list[dict[str, Any]]]) -> None:
    """Raise LimitReached when the turn's newest answers have asked for these calls, too. Calls are digests."""
    if turn.steps + len(calls) < loop.MAX_EQUAL_CALLS:
        return
    earlier = ([digest(call["name"], call["arguments"]) for call in calls] for calls in answers)
    loop.require_progress(calls, earlier)


def edit_call(call: ToolCall) -> None:
    """Replace the arguments of a call in its message by those that a user has edited.

    The turn waits, so no model has got the message, and compaction has not compared it with its event.
    """
    asked = [{"id": call.call_id}]
    message = Message.objects.get(turn=call.turn_id, role=MessageRole.ASSISTANT, tool_calls__contains=asked)
    for each in message.tool_calls:
        if each["id"] == call.call_id:
            each["arguments"] = call.arguments
    message.edited_calls = sorted({*(message.edited_calls or ()), call.call_id})
    message.save(update_fields=["tool_calls", "key_order", "edited_calls"])


def calls_of(message: Message) -> list[dict[str, Any]]:
    """Return the tool calls of a message as clients see them.

    `edited` marks what a user has changed, and `display` is for people where the exact arguments would mislead them.
    """
    edited = message.edited_calls or ()
    return [
        {**call, **displayed(call["arguments"]), **({"edited": True} if call["id"] in edited else {})}
        for call in message.tool_calls
    ]


def displayed(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the field `display` where people have to read a call's arguments in another form, otherwise nothing."""
    shown = show_changed(arguments)
    return {} if shown is None else {"display": shown}


def defined(call: ToolCall) -> dict[str, Any]:
    """Return the field `client_tool` for people where the client has defined the tool of a call, otherwise nothing."""
    if not call.definition:
        return {}
    return {"client_tool": {name: call.definition[name] for name in ("kind", "description")}}


def unfinished_texts(session: Session, turn: Turn) -> list[dict[str, str]]:
    """Return the text and any `reasoning` of messages that the latest attempt has sent but not stored yet."""
    stored = set(map(str, turn.messages.values_list("pk", flat=True)))
    deltas = Event.objects.filter(
        session=session, number__gt=turn.position, turn=turn, kind__in=PIECES, attempt=turn.attempt
    )
    drafts: dict[str, dict[str, list[str]]] = {}
    for kind, payload in deltas.order_by("number").values_list("kind", "payload"):
        if payload["message_id"] not in stored:
            draft = drafts.setdefault(payload["message_id"], {"text": []})
            draft.setdefault("text" if kind == EventKind.TEXT_DELTA else "reasoning", []).append(payload["text"])
    return [
        {"turn_id": str(turn.pk), "message_id": message_id} | {name: "".join(texts) for name, texts in draft.items()}
        for message_id, draft in drafts.items()
    ]


def store_unfinished(session: Session, turn: Turn) -> list[LoggedEvent]:
    """Store the unfinished messages of the turn's latest attempt as interrupted ones."""
    events = []
    subtask = current_subtask(session)
    for draft in unfinished_texts(session, turn):
        reasoning = draft.get("reasoning", "")
        result = StepResult(message_id=uuid.UUID(draft["message_id"]), text=draft["text"], reasoning=reasoning)
        events += store_step(session, turn, result, interrupted=True, subtask=subtask)
    return events


def make_call_ids_unique(calls: Sequence[ToolCall], existing: Collection[str]) -> None:
    """Replace ids that are too long or exist in the session, as some providers count from zero in each answer."""
    existing = set(existing)
    for call in calls:
        if call.call_id in existing or len(call.call_id) > MAX_CALL_ID_LENGTH:
            call.call_id = f"call_{new_id().hex}"
        existing.add(call.call_id)


def give_title(session: Session, content: str) -> None:
    """Name a session without a title after the beginning of its first message."""
    if session.title:
        return
    words = " ".join(content.split())
    session.title = words if len(words) <= MAX_TITLE_LENGTH else words[: MAX_TITLE_LENGTH - 1] + "…"
    session.awaits_title = bool(words)
    save(session, "title", "awaits_title")
