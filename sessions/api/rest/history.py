"""Reads what the REST API shows of a session: its messages, its agents, its latest activity."""

import json
import uuid

from django.db.models import Func, IntegerField, Max, OuterRef, QuerySet, Subquery
from ninja.responses import NinjaJSONEncoder

from sessions.api.http import counted_messages
from sessions.api.rest.schemas import History, HistoryMessage, ImageOut, Switch
from sessions.errors import NotFound
from sessions.events.reads import agent_switches
from sessions.models import Message, MessageRole, Session, ToolCall
from sessions.protocol.codes import ErrorCode
from sessions.turns.sessions import MAX_PINNED
from sessions.turns.transcript import calls_of

#: Messages of a page, and about how many bytes they have together. A page is put together in memory, a few at a time.
MAX_PAGE_MESSAGES, MAX_PAGE_BYTES = 1000, 2 * 1024 * 1024
MAX_SWITCHES = 1000


def sessions_of(owner_id: int) -> QuerySet[Session]:
    """Return the owner's sessions with `message_count` and `last_message_at`, computed for the rows of a page only."""
    messages = Message.objects.filter(session=OuterRef("pk"), withdrawn=False)
    return Session.objects.filter(owner_id=owner_id).annotate(
        message_count=counted_messages(messages),
        last_message_at=Subquery(messages.order_by("-number").values("created_at")[:1]),
    )


def history(
    session: Session, *, limit: int = MAX_PAGE_MESSAGES, before: uuid.UUID | None = None, after: uuid.UUID | None = None
) -> History:
    """Return a page of a session's messages, oldest first, and the agents it had.

    The page ends before the message `before`, or begins after the message `after`; without both it has the newest ones.
    Raises NotFound for a message that the session does not have.
    """
    messages = session.messages.filter(withdrawn=False)
    is_forward = after is not None and before is None
    rows, has_more = _page(messages, limit, _number(messages, before), _number(messages, after), is_forward=is_forward)
    tools = _tools(session, rows)
    return History(
        session_id=session.key,
        messages=[_message(row, tools) for row in rows],
        message_count=messages.count(),
        has_more=has_more,
        last_activity=messages.aggregate(newest=Max("created_at"))["newest"] or session.created_at,
        current_agent=session.current_agent,
        agent_history=switches(session),
    )


def listed_sessions(owner_id: int, *, limit: int, offset: int) -> tuple[list[Session], int]:
    """Return a page of the owner's sessions, pinned ones and then the one used last first, and how many there are."""
    mine = sessions_of(owner_id).filter(hidden=False)
    total = Session.objects.filter(owner_id=owner_id, hidden=False).count()
    # Few are pinned. The others are read in the order of their index.
    pinned = list(mine.filter(is_pinned=True).order_by("-updated_at", "-pk")[:MAX_PINNED])
    rest = mine.exclude(pk__in=[session.pk for session in pinned]).order_by("-updated_at", "-pk")
    page = pinned[offset : offset + limit]
    start = max(offset - len(pinned), 0)
    return page + list(rest[start : start + limit - len(page)]), total


def page_after(session: Session, after: uuid.UUID | None, *, limit: int) -> tuple[list[HistoryMessage], bool]:
    """Return the messages behind one, or the first ones, oldest first, and whether there are more."""
    messages = session.messages.filter(withdrawn=False)
    # The message may have been withdrawn since; its row stays.
    number = _number(session.messages.all(), after)
    rows, has_more = _page(messages, limit, None, number, is_forward=True)
    tools = _tools(session, rows)
    return [_message(row, tools) for row in rows], has_more


def as_json(page: History) -> bytes:
    """Return a page as JSON. Call it off the event loop."""
    fields = page.model_dump(by_alias=True, exclude_none=True)
    return json.dumps(fields, cls=NinjaJSONEncoder, ensure_ascii=False).encode()


def _number(messages: QuerySet[Message], message_id: uuid.UUID | None) -> int | None:
    if message_id is None:
        return None
    number = messages.filter(pk=message_id).values_list("number", flat=True).first()
    if number is None:
        raise NotFound(ErrorCode.MESSAGE_NOT_FOUND, f"The session has no message `{message_id}`.")
    return number


def _page(
    messages: QuerySet[Message], limit: int, before: int | None, after: int | None, *, is_forward: bool
) -> tuple[list[Message], bool]:
    """Return the messages of a page, oldest first, and whether there are more in the direction of the page."""
    if before is not None:
        messages = messages.filter(number__lt=before)
    if after is not None:
        messages = messages.filter(number__gt=after)
    order = "number" if is_forward else "-number"
    # Both are known without reading the values.
    size = _bytes("octet_length", "content") + _bytes("pg_column_size", "tool_calls")
    ids: list[uuid.UUID] = []
    total = 0
    sized = list(messages.order_by(order).values_list("pk", size)[: limit + 1])
    for pk, length in sized[:limit]:
        total += length
        if ids and total > MAX_PAGE_BYTES:
            break
        ids.append(pk)
    rows = Message.objects.filter(pk__in=ids).defer("reasoning", "provider_fields").order_by("number")
    return list(rows), len(ids) < len(sized)


def _bytes(function: str, field: str) -> Func:
    return Func(field, function=function, output_field=IntegerField())


def _tools(session: Session, rows: list[Message]) -> dict[str, str]:
    """Return the names of tools by the ids of their calls; the call may be on another page than its result."""
    tools = {call["id"]: call["name"] for row in rows for call in row.tool_calls}
    missing = {row.tool_call_id for row in rows if row.tool_call_id} - tools.keys()
    if missing:
        calls = ToolCall.objects.filter(turn__session=session, call_id__in=missing)
        tools |= dict(calls.values_list("call_id", "tool"))
    return tools


def switches(session: Session) -> list[Switch]:
    """Return the newest changes of the session's agent, oldest first."""
    rows = agent_switches(session.events.all()).order_by("-number")
    return [
        {"from": payload["from_agent"], "to": payload["to_agent"], "reason": payload["reason"], "timestamp": at}
        for payload, at in reversed(rows.values_list("payload", "created_at")[:MAX_SWITCHES])
    ]


def _message(row: Message, tools: dict[str, str]) -> HistoryMessage:
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"]},
            **{name: call[name] for name in ("display", "edited") if name in call},
        }
        for call in calls_of(row)
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
