"""Streams a session's events to the plugin, one JSON object a line, in the types of its schema.

The plugin cannot say which events it has. So a stream begins with the recent answers and open calls; the plugin drops
ids that it has. A command that may have been started is never sent again.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
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

#: A silent stream sends a heartbeat this often.
HEARTBEAT_SECONDS = 15.0
#: A new stream repeats the answers of turns that ended within this time. The plugin reconnects for half a minute.
REPLAY_PERIOD = timedelta(minutes=2)

#: The plugin's types for events that are sent with unchanged payloads.
TYPES_OF_KINDS = {"plan_proposed": "orchestration_plan_created"}

APPROVED = (ApprovalStatus.APPROVED, ApprovalStatus.EDITED)


async def stream(session: Session, writable: asyncio.Event | None = None) -> AsyncGenerator[str]:
    """Return the lines of a session from now on, without end, pausing while `writable` is not set."""
    # Read now, not with the first line: the client may send a message as soon as it has the response's headers.
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
            elif text := await line_of(event):
                yield text


def line(kind: str, session_id: uuid.UUID, payload: dict[str, Any], **more: Any) -> str:
    """Return an event of the plugin as a line. Its schema has optional fields, but no nulls."""
    event = {"type": kind, "session_id": str(session_id), "timestamp": timezone.now().isoformat(), "payload": payload}
    return json.dumps(event | more, ensure_ascii=False) + "\n"


def _opening(session_id: uuid.UUID) -> tuple[int, list[str]]:
    """Return the session's last number, and lines that a client may have missed up to it."""
    with transaction.atomic():
        # The lock keeps writers out, so the lines and the number belong together.
        session = log.lock(session_id)
        recent = session.turns.filter(Q(status__in=OPEN_STATUSES) | Q(finished_at__gt=Now() - REPLAY_PERIOD))
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


async def line_of(event: LoggedEvent) -> str | None:
    """Return the line for an event, None for events without a type in the plugin's schema."""
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
    plugin_type = TYPES_OF_KINDS.get(event.kind)
    return line(plugin_type, event.session_id, payload) if plugin_type else None


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
    """Return the line for an event of a call, None if the call has moved on since then."""
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
