"""Sessions of a project: made, listed, deleted; their messages, and what happens in them as a stream."""

from __future__ import annotations

import uuid
from typing import cast

from django.db.models import Count, Q
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from ninja import Router

from sessions.api.commands import announce, handle_message, store_timeout
from sessions.api.http import ERRORS, require_clean, streamed, writable_of
from sessions.api.plugin import ndjson
from sessions.api.plugin.lookup import project_of, session_of
from sessions.api.plugin.schemas import (
    ChatList,
    ChatMessage,
    ChatMessageIn,
    ChatMessages,
    ChatOut,
    Deleted,
    agent_named,
)
from sessions.api.plugin.tool_messages import CLIENT_TOOLS
from sessions.api.streaming import until_signed_out
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.models import MessageRole, Session, Turn, TurnStatus
from sessions.protocol import ErrorCode, Rejected
from sessions.turns.sessions import delete_session, open_in_project

router = Router()

CHAT = "/projects/{uuid:project_id}/chat"
ONE = CHAT + "/sessions/{uuid:session_id}"

#: Sessions and messages that are listed at most, the newest ones.
MANY = 1000

#: What people said and read; the plugin knows no messages of tools, and an empty one would be an empty bubble.
READABLE = Q(withdrawn=False) & ~Q(content="") & ~Q(role=MessageRole.TOOL)


@router.post(f"{CHAT}/sessions/", response={200: ChatOut, **ERRORS})
async def create_chat(request: HttpRequest, project_id: uuid.UUID) -> ChatOut:
    """Make a session in a project."""
    project = await project_of(request, project_id)
    session = await in_thread(open_in_project)(project, CLIENT_TOOLS)
    return ChatOut(id=session.pk, created_at=session.created_at, message_count=0, title="")


@router.get(f"{CHAT}/sessions/", response={200: ChatList, **ERRORS})
async def list_chats(request: HttpRequest, project_id: uuid.UUID) -> ChatList:
    """List the sessions of a project, the one used last first."""
    project = await project_of(request, project_id)

    def read() -> ChatList:
        sessions = Session.objects.filter(project=project)
        readable = Q(messages__withdrawn=False) & ~Q(messages__content="") & ~Q(messages__role=MessageRole.TOOL)
        rows = sessions.annotate(count=Count("messages", filter=readable)).order_by("-updated_at", "-pk")
        shown = [
            ChatOut(id=row.pk, created_at=row.created_at, message_count=row.count, title=row.title)
            for row in rows[:MANY]
        ]
        return ChatList(sessions=shown, total=sessions.count())

    return await in_thread(read)()


@router.delete(ONE, response={200: Deleted, **ERRORS})
async def delete_chat(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> Deleted:
    """Delete a session with all that was said in it."""
    async with store_timeout() as deadline:
        session = await session_of(request, project_id, session_id)
        change = await in_thread(delete_session)(session.pk, deadline=deadline)
    announce(change)
    return Deleted(id=session_id)


@router.get(f"{ONE}/messages/", response={200: ChatMessages, **ERRORS})
async def list_messages(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> ChatMessages:
    """Return what was said in a session, oldest first."""
    session = await session_of(request, project_id, session_id)

    def read() -> ChatMessages:
        rows = session.messages.filter(READABLE)
        newest = reversed(rows.order_by("-number")[:MANY])
        messages = [
            ChatMessage(id=row.pk, content=row.content, role=cast(ndjson.Role, row.role), timestamp=row.created_at)
            for row in newest
        ]
        return ChatMessages(messages=messages, total=rows.count(), session_id=session.pk)

    return await in_thread(read)()


@router.post(f"{CHAT}/{{uuid:session_id}}/message/", response={200: ChatMessage, **ERRORS})
async def send_message(
    request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID, body: ChatMessageIn
) -> ChatMessage:
    """Send a message; the answer comes as an event.

    The plugin has no way to stop a turn, and shows no queue: so a message that is sent while a turn waits for a tool or
    for an approval goes first, and that turn is stopped.
    """
    require_clean(body.content)
    if not body.content.strip():
        raise Rejected(ErrorCode.EMPTY_MESSAGE, "The message is empty: write something in `content`.")
    await caller_of(request).authorize(Action.TURN)
    async with store_timeout() as deadline:
        session = await session_of(request, project_id, session_id)
        waiting = Turn.objects.filter(session=session, status=TurnStatus.WAITING)
        accepted = await handle_message(
            session.pk,
            body.content,
            interrupt=await in_thread(waiting.exists)(),
            agent=agent_named(body.target_agent) if body.target_agent else None,
            api_key=caller_of(request).api_key,
            deadline=deadline,
        )
    announce(accepted)
    return ChatMessage(id=accepted.message_id, content=body.content, role="user", timestamp=timezone.now())


@router.get(f"{CHAT}/{{uuid:session_id}}/events/", response={200: None, **ERRORS})
async def follow_events(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> StreamingHttpResponse:
    """Stream what happens in a session, one JSON object a line, until the client goes."""
    session = await session_of(request, project_id, session_id)
    events = await ndjson.stream(session, writable_of(request))
    return streamed(until_signed_out(events, caller_of(request)), "application/x-ndjson")
