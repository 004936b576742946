"""What happens in a session, for the plugin: one JSON object a line, of the types that its schema knows and no other.

It cannot say what it has. So a stream begins with what a client that was away for a moment may have missed, under ids
by which it knows what it has already; and a command that is out is not sent twice, because nobody knows whether it ran.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents.tools import TOOLS, ToolKind
from sessions.api.plugin.schemas import agent_id
from sessions.api.plugin.tool_messages import approval_request, execution_signal
from sessions.api.streaming import with_heartbeat
from sessions.database import in_thread
from sessions.events import log
from sessions.events.feed import Feed
from sessions.events.log import LoggedEvent
from sessions.models import (
    OPEN_CALLS,
    OPEN_STATUSES,
    ApprovalStatus,
    EventKind,
    MessageRole,
    Session,
    ToolCall,
    ToolCallStatus,
    Via,
)

type Role = Literal["user", "assistant", "system"]

#: Seconds between two signs of life on a silent stream.
HEARTBEAT_SECONDS = 15.0
#: How long after its end a turn's answers are told again; the plugin tries to come back for half a minute.
RECENT = timedelta(minutes=2)

#: Kinds of events that are told as they are, under the plugin's name for it.
RENAMED = {"plan_proposed": "orchestration_plan_created"}

APPROVED = (ApprovalStatus.APPROVED, ApprovalStatus.EDITED)


async def stream(session: Session, writable: asyncio.Event | None = None) -> AsyncGenerator[str]:
    """Return the lines of a session, from this moment on and for ever; while `writable` is not set they wait."""
    # Now and not when the first line is asked for: the client may send a message as soon as it has the answer's head.
    number, missed = await in_thread(_opening)(session.pk)
    return _lines(session, number, missed, writable)


async def _lines(
    session: Session, number: int, missed: list[str], writable: asyncio.Event | None
) -> AsyncGenerator[str]:
    for each in [line("heartbeat", session.pk, {}), *missed]:
        yield each
    feed = aiter(Feed(session.pk, number, writable))
    async with aclosing(with_heartbeat(feed, HEARTBEAT_SECONDS)) as events:
        async for event in events:
            if event is None:
                yield line("heartbeat", session.pk, {})
            elif event.kind == EventKind.SESSION_DELETED:
                return
            elif text := await told(event):
                yield text


def line(kind: str, session_id: uuid.UUID, payload: dict[str, Any], **more: Any) -> str:
    """Return an event of the plugin's as a line. Nothing is null: its schema wants fields or none."""
    event = {"type": kind, "session_id": str(session_id), "timestamp": timezone.now().isoformat(), "payload": payload}
    return json.dumps(event | more, ensure_ascii=False) + "\n"


def _opening(session_id: uuid.UUID) -> tuple[int, list[str]]:
    """Return the number to go on from, and what a client that was away may have missed until there."""
    with transaction.atomic():
        # The lock keeps writers out, so that what follows has the number that was read here.
        session = log.lock(session_id)
        recent = session.turns.filter(Q(status__in=OPEN_STATUSES) | Q(finished_at__gt=timezone.now() - RECENT))
        answers = session.messages.filter(turn__in=recent, role=MessageRole.ASSISTANT, interrupted=False)
        lines = [
            line("message_created", session_id, _message(row.pk, row.role, row.content, row.created_at))
            for row in answers.exclude(content="").order_by("number")
        ]
        calls = ToolCall.objects.filter(turn__in=recent, status__in=OPEN_CALLS).select_related("turn")
        for call in calls.order_by("created_at", "pk"):
            if call.status == ToolCallStatus.ASKED:
                lines.append(line("tool.approval_request", session_id, approval_request(call)))
            elif call.tool in TOOLS and TOOLS[call.tool].kind is ToolKind.READ:
                lines.append(line("tool.execution_signal", session_id, execution_signal(call)))
        return session.last_number, lines


async def told(event: LoggedEvent) -> str | None:
    """Return the line that tells of an event, if the plugin has one for it."""
    payload = event.payload
    match event.kind:
        case EventKind.TOOL_CALL_REQUESTED | EventKind.APPROVAL_DECIDED | EventKind.TOOL_CALL_FINISHED:
            call = await in_thread(_call)(event)
            return _of_call(event, call) if call else None
        case EventKind.MESSAGE_ADDED:
            return _of_message(event)
        case EventKind.AGENT_SWITCHED:
            chosen = str(agent_id(payload["to_agent"]))
            facts = {key: payload[key] for key in ("from_agent", "to_agent", "reason")}
            ids = {"agent_id": chosen, "selected_agent_id": chosen}
            return line("agent_switched", event.session_id, ids | facts, agent_id=chosen)
        case EventKind.TURN_STARTED:
            return line("task_started", event.session_id, {"task_id": payload["turn_id"]})
        case EventKind.TURN_COMPLETED | EventKind.TURN_CANCELLED:
            status = event.kind.removeprefix("turn_")
            return line("task_completed", event.session_id, {"task_id": payload["turn_id"], "status": status})
        case EventKind.TURN_FAILED:
            text = payload["error"]
            facts = {"error": text, "message": text, "error_code": payload["error_code"], "agent_name": "CodeLab"}
            return line("error", event.session_id, facts | {"task_id": payload["turn_id"]})
    renamed = RENAMED.get(event.kind)
    return line(renamed, event.session_id, payload) if renamed else None


def _of_message(event: LoggedEvent) -> str | None:
    payload = event.payload
    if not payload["content"] or payload.get("interrupted"):
        return None
    kinds = {MessageRole.USER: "message_received", MessageRole.ASSISTANT: "message_created"}
    kind = kinds.get(payload["role"])
    message = _message(payload["message_id"], payload["role"], payload["content"], timezone.now())
    return line(kind, event.session_id, message) if kind else None


def _message(message_id: object, role: str, content: str, at: datetime) -> dict[str, Any]:
    name = str(message_id)
    return {"message_id": name, "id": name, "role": role, "content": content, "timestamp": at.isoformat()}


def _call(event: LoggedEvent) -> ToolCall | None:
    mine = ToolCall.objects.filter(turn_id=event.payload["turn_id"], call_id=event.payload["call_id"])
    return mine.select_related("turn").first()


def _of_call(event: LoggedEvent, call: ToolCall) -> str | None:
    """Return the line for a call, as long as it is still true: what was answered meanwhile is not asked for again."""
    payload = event.payload
    waits, asked = call.status == ToolCallStatus.WAITING, call.status == ToolCallStatus.ASKED
    match event.kind:
        case EventKind.TOOL_CALL_FINISHED:
            ack = {"tool_id": str(call.pk), "status": "completed", "receipt_status": "processed"}
            return line("tool.result_ack", event.session_id, ack)
        case EventKind.TOOL_CALL_REQUESTED if payload["requires_approval"]:
            return line("tool.approval_request", event.session_id, approval_request(call)) if asked else None
        case EventKind.APPROVAL_DECIDED if payload["status"] not in APPROVED or payload["via"] == Via.RESULT:
            return None
    return line("tool.execution_signal", event.session_id, execution_signal(call)) if waits else None
