"""Creates, lists and deletes the sessions of a project; takes messages and streams events."""

import uuid
from typing import Any

from django.db.models import OuterRef, Q
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from ninja import Router

from sessions.api.commands import announce, handle_message, store_change, store_timeout
from sessions.api.http import ERRORS, Deleted, counted_messages, owner, require_clean, stream_response, writable_of
from sessions.api.plugin import ndjson
from sessions.api.plugin.lookup import chat_of, project_of
from sessions.api.plugin.schemas import ChatList, ChatMessageIn, ChatMessages, ChatOut, PluginMessage, agent_name
from sessions.api.plugin.tool_messages import CLIENT_TOOLS
from sessions.api.streaming import counted, open_streams, until_draining, until_signed_out
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.models import Message, MessageRole, Session, Turn, TurnStatus
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.turns.deletion import delete_session
from sessions.turns.sessions import open_in_project

router = Router()

CHAT = "/projects/{uuid:project_id}/chat"
ONE = CHAT + "/sessions/{uuid:session_id}"

#: Lists contain at most this many sessions or messages, the newest.
MAX_ROWS = 1000

#: Messages that the plugin can show: it has no tool messages, and would show an empty one as an empty bubble.
READABLE = Q(withdrawn=False) & ~Q(content="") & ~Q(role=MessageRole.TOOL)


@router.post(f"{CHAT}/sessions/", response={200: ChatOut, **ERRORS})
async def create_chat(request: HttpRequest, project_id: uuid.UUID) -> ChatOut:
    """Create a session in a project."""
    project = await project_of(request, project_id)
    session = await in_thread(open_in_project)(project, CLIENT_TOOLS)
    return ChatOut(id=session.pk, created_at=session.created_at, message_count=0, title="")


@router.get(f"{CHAT}/sessions/", response={200: ChatList, **ERRORS})
async def list_chats(request: HttpRequest, project_id: uuid.UUID) -> dict[str, Any]:
    """List the sessions of a project, the one used last first."""
    sessions = Session.objects.filter(project=await project_of(request, project_id))
    readable = Message.objects.filter(READABLE, session=OuterRef("pk"))
    rows = sessions.annotate(message_count=counted_messages(readable)).order_by("-updated_at", "-pk")
    return {"sessions": await in_thread(list)(rows[:MAX_ROWS]), "total": await in_thread(sessions.count)()}


@router.delete(ONE, response={200: Deleted, **ERRORS})
async def delete_chat(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> Deleted:
    """Stop a session's turns and delete it with its whole content."""
    await store_change(chat_of(request, project_id, session_id), delete_session)
    return Deleted(id=session_id)


@router.get(f"{ONE}/messages/", response={200: ChatMessages, **ERRORS})
async def list_messages(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> dict[str, Any]:
    """List the newest messages of a session, the oldest first."""
    session = await chat_of(request, project_id, session_id)
    rows = session.messages.filter(READABLE)
    newest = await in_thread(list)(rows.order_by("-number")[:MAX_ROWS])
    return {"messages": newest[::-1], "total": await in_thread(rows.count)(), "session_id": session.pk}


@router.post(f"{CHAT}/{{uuid:session_id}}/message/", response={200: PluginMessage, **ERRORS})
async def send_message(
    request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID, body: ChatMessageIn
) -> dict[str, Any]:
    """Store a message; the answer arrives as an event.

    The plugin can neither stop a turn nor show a queue. So a message that arrives while a turn waits for a tool or an
    approval stops that turn and is answered next.
    """
    require_clean(body.content)
    if not body.content.strip():
        raise Rejected(ErrorCode.EMPTY_MESSAGE, "The message is empty: write something in `content`.")
    await caller_of(request).authorize(Action.TURN)
    async with store_timeout() as deadline:
        session = await chat_of(request, project_id, session_id)
        waiting = Turn.objects.filter(session=session, status=TurnStatus.WAITING)
        accepted = await handle_message(
            session.pk,
            body.content,
            interrupt=await in_thread(waiting.exists)(),
            agent=agent_name(body.target_agent) if body.target_agent else None,
            api_key=caller_of(request).api_key,
            deadline=deadline,
        )
    announce(accepted)
    return {"id": accepted.message_id, "content": body.content, "role": "user", "created_at": timezone.now()}


@router.get(f"{CHAT}/{{uuid:session_id}}/events/", response={200: None, **ERRORS})
async def follow_events(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> StreamingHttpResponse:
    """Stream the events of a session, one JSON object a line, until the client disconnects."""
    session = await chat_of(request, project_id, session_id)
    user_id = owner(request).pk
    open_streams.require_free(user_id)
    events = await ndjson.stream(session, writable_of(request))
    return stream_response(
        until_signed_out(until_draining(counted(events, user_id)), caller_of(request)), "application/x-ndjson"
    )
