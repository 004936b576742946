"""Reads what the REST API shows of a session: its messages, its agents, its latest activity."""

from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from sessions.api.rest.schemas import History, HistoryMessage, ImageOut, Switch
from sessions.models import EventKind, Message, MessageRole, Session


def sessions_of(owner_id: int) -> QuerySet[Session]:
    """Return the owner's sessions with `message_count` and `last_message_at`, computed for the rows of a page only."""
    messages = Message.objects.filter(session=OuterRef("pk"), withdrawn=False).order_by().values("session")
    return Session.objects.filter(owner_id=owner_id).annotate(
        message_count=Coalesce(Subquery(messages.annotate(count=Count("pk")).values("count")), 0),
        last_message_at=Subquery(messages.annotate(newest=Max("created_at")).values("newest")),
    )


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
    calls = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in row.tool_calls
    ]
    return HistoryMessage(
        id=row.pk,
        role=row.role,
        content=row.content,
        created_at=row.created_at,
        name=tools.get(row.tool_call_id) if row.role == MessageRole.TOOL else None,
        tool_call_id=row.tool_call_id or None,
        tool_calls=calls or None,
        images=[ImageOut(**image) for image in row.images or ()] or None,
    )
