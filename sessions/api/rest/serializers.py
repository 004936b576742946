"""Sessions as REST clients read them: flat, with their history, the agents they had and what they wait for. Reads only.

Shapes are those that the original's clients cast hard (docs/protocol.md): nothing they need is ever null.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Max, OuterRef, Subquery
from django.db.models.functions import Coalesce

from sessions.api.rest.schemas import History, HistoryMessage, ImageOut, SessionList, SessionOut, Switch
from sessions.models import EventKind, Message, MessageRole, Session


def flat(owner_id: int, key: str) -> SessionOut | None:
    """Return the owner's session with this key."""
    row = _counted(Session.objects.filter(owner_id=owner_id, key=key)).first()
    return _flat(row) if row else None


def page(owner_id: int, limit: int, offset: int) -> SessionList:
    """Return some of the owner's sessions, the one used last first, and how many there are."""
    mine = Session.objects.filter(owner_id=owner_id, hidden=False)
    rows = _counted(mine).order_by("-updated_at", "-pk")[offset : offset + limit]
    return SessionList(sessions=[_flat(row) for row in rows], total=mine.count(), limit=limit, offset=offset)


def history(session: Session) -> History:
    """Return all messages of a session, oldest first, and the agents it had."""
    rows = list(session.messages.filter(withdrawn=False).order_by("number"))
    tools = {call["id"]: call["name"] for row in rows for call in row.tool_calls}
    return History(
        session_id=session.key,
        messages=[_message(row, tools) for row in rows],
        message_count=len(rows),
        last_activity=rows[-1].created_at if rows else session.created_at,
        current_agent=session.current_agent,
        agent_history=switches(session),
    )


def switches(session: Session) -> list[Switch]:
    """Return the changes of the session's agent, oldest first."""
    rows = session.events.filter(kind=EventKind.AGENT_SWITCHED).order_by("number")
    return [
        {"from": payload["from_agent"], "to": payload["to_agent"], "reason": payload["reason"], "timestamp": at}
        for payload, at in rows.values_list("payload", "created_at")
    ]


def _message(row: Message, tools: dict[str, str]) -> HistoryMessage:
    return HistoryMessage(
        id=row.pk,
        role=row.role,
        content=row.content,
        created_at=row.created_at,
        name=tools.get(row.tool_call_id) if row.role == MessageRole.TOOL else None,
        tool_call_id=row.tool_call_id or None,
        tool_calls=[
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in row.tool_calls
        ]
        or None,
        images=[ImageOut(**image) for image in row.images or ()] or None,
    )


def _counted(sessions: Any) -> Any:
    """Add what is said of messages; PostgreSQL works it out for the sessions of one page only."""
    messages = Message.objects.filter(session=OuterRef("pk"), withdrawn=False).order_by().values("session")
    return sessions.annotate(
        message_count=Coalesce(Subquery(messages.annotate(count=Count("pk")).values("count")), 0),
        last_message_at=Subquery(messages.annotate(newest=Max("created_at")).values("newest")),
    )


def _flat(row: Any) -> SessionOut:
    return SessionOut(
        id=row.key,
        session_id=row.key,
        title=row.title,
        message_count=row.message_count,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_activity=row.last_message_at or row.created_at,
        current_agent=row.current_agent,
        mode=row.mode,
    )
