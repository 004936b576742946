"""The state of a session, with the number of the newest event in it: the start of a client that has no events.

A snapshot equals all events up to its number; a test plays both and compares. Reads only.
"""

import uuid
from decimal import Decimal
from typing import Any

from django.db.models import Count, F, Func, IntegerField, Q, Sum, TextField, Window
from django.db.models.functions import Cast, Coalesce

from sessions.database import one_state
from sessions.models import OPEN_CALLS, OPEN_STATUSES, Message, MessageRole, Session, ToolCallStatus, Turn, TurnStatus
from sessions.turns import plans, retries, summaries, workspaces
from sessions.turns.transcript import calls_of, defined, displayed, subtask_fields, unfinished_texts

#: A snapshot has the newest messages within both limits; older ones are in the history of the REST API. One message may
#: go beyond the limit, so the newest is always there, and a frame of ordinary messages stays below 1 MiB.
MAX_MESSAGES, MAX_MESSAGE_BYTES = 1000, 512 * 1024


def snapshot(session_id: uuid.UUID) -> dict[str, Any]:
    """Return the state of a session: `number`, messages, what is open or unfinished, active plan and workspace.

    Raises Session.DoesNotExist. Takes no lock: a client that says `hello` must not delay the session's text.
    """
    with one_state():
        return snapshot_of(Session.objects.get(pk=session_id))


def snapshot_of(session: Session) -> dict[str, Any]:
    """Return the state of a session; of one without a row, that of an empty session."""
    turns = list(session.turns.filter(status__in=OPEN_STATUSES).order_by("position"))
    messages = [message_state(message) for message in reversed(_newest_messages(session))]
    return {
        "number": session.last_number,
        "session": {
            "session_id": session.key,
            "title": session.title,
            "current_agent": session.current_agent,
            "mode": session.mode,
        },
        "messages": messages,
        "older_messages": len(messages) < session.messages.filter(withdrawn=False).count(),
        "turns": [
            {"turn_id": str(turn.pk), "status": turn.status, "attempt": turn.attempt, **retries.state(session, turn)}
            for turn in turns
        ],
        "texts": [text for turn in turns for text in unfinished_texts(session, turn)],
        "tool_calls": [call for turn in turns for call in _waiting_calls(turn)],
        "plan": plans.state(plan) if (plan := plans.active(session)) else None,
        "workspace": workspaces.summary_of(session),
        "summary": summaries.newest_state(session),
        "usage": _usage(session),
    }


def _usage(session: Session) -> dict[str, Any]:
    """Return what the events of ended turns have said in all, and how full the window was at the newest step."""
    # Ends of versions before said nothing of the tokens of a turn that was stopped or failed.
    is_counted = Q(status=TurnStatus.COMPLETED) | Q(cached_tokens__isnull=False)
    tokens = ("input_tokens", "output_tokens", "cached_tokens")
    use = session.turns.filter(finished_at__isnull=False).aggregate(
        **{name: Sum(name, filter=is_counted, default=0) for name in tokens},
        dollars=Sum("cost", default=Decimal()),
        unpriced_turns=Count("pk", filter=Q(cost=None)),
    )
    use["cost"] = f"{use.pop('dollars').normalize():f}"
    newest = session.messages.filter(author__has_key="context").order_by("-number").first()
    return {**use, "context": newest.author["context"]} if newest and newest.author else use


def _newest_messages(session: Session) -> list[Message]:
    """Return the newest messages within both limits, the newest first."""
    order = (F("turn__position").desc(), Coalesce("read_number", "number").desc(), F("number").desc())
    bytes_of_all = Window(Sum(F("bytes")), order_by=order)
    sized = session.messages.filter(withdrawn=False).annotate(
        bytes=_bytes("content") + _bytes("reasoning") + _bytes("tool_calls"), total=bytes_of_all
    )
    rows = sized.filter(total__lt=F("bytes") + MAX_MESSAGE_BYTES).select_related("subtask")
    return list(rows.order_by(*order)[:MAX_MESSAGES])


def _bytes(field: str) -> Func:
    return Func(Cast(field, TextField()), function="octet_length", output_field=IntegerField())


def message_state(message: Message) -> dict[str, Any]:
    """Return a message as its event has it."""
    state: dict[str, Any] = {
        "message_id": str(message.pk),
        "turn_id": str(message.turn_id),
        "role": message.role,
        "content": message.content,
    }
    for name in ("reasoning", "images", "tool_call_id", "interrupted"):
        if value := getattr(message, name):
            state[name] = value
    state |= message.author or {}
    if message.steered:
        state["steer"] = True
    if message.read_number:
        state["read"] = True
    if calls := calls_of(message):
        state["tool_calls"] = calls
    # A user's message gets its sub-task later, and its event has none.
    if message.role != MessageRole.USER:
        state |= subtask_fields(message.subtask)
    return state


def _waiting_calls(turn: Turn) -> list[dict[str, Any]]:
    calls = turn.tool_calls.filter(status__in=OPEN_CALLS).order_by("created_at", "pk")
    return [
        {
            "turn_id": str(turn.pk),
            "call_id": call.call_id,
            "tool": call.tool,
            "arguments": call.arguments,
            "requires_approval": call.status == ToolCallStatus.ASKED,
            "agent": call.agent,
            "rule": call.rule,
            "reason": call.reason,
            **displayed(call.arguments),
            **defined(call),
            **({"unknown": True} if call.unknown_since else {}),
            **({"edited": True} if call.edited else {}),
        }
        for call in calls
    ]
