"""Sessions, their history and events, and messages sent without a socket.

Every look-up is by owner: another user's session looks like a missing one.
"""

import asyncio
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from sessions.api.commands import announce, handle_message, stop_turn, store_change, store_timeout
from sessions.api.http import (
    ERRORS,
    MAX_EVENT_NUMBER,
    MAX_OFFSET_ROWS,
    ErrorOut,
    bind_session,
    first_of,
    last_event_id,
    no_session,
    owner,
    require_clean,
    session_of,
    stream_response,
    writable_of,
)
from sessions.api.rest import history
from sessions.api.rest.event_stream import stream
from sessions.api.rest.rules import rules_of
from sessions.api.rest.schemas import (
    AnswerOut,
    CancelledTurn,
    DeletedSession,
    EditIn,
    EventPage,
    History,
    MessageIn,
    MessageOut,
    MessageQueue,
    SessionChange,
    SessionIn,
    SessionList,
    SessionOut,
    Settings,
    WaitingMessage,
    WithdrawnMessage,
)
from sessions.api.rest.search import search
from sessions.api.streaming import counted, open_streams, until_draining, until_signed_out
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import TurnFailed
from sessions.events import log
from sessions.events.feed import ENDS_TURN, Feed
from sessions.events.log import LoggedEvent
from sessions.models import MODES, EventKind, MessageRole, Session, TurnStatus
from sessions.protocol.client import when_of
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import AcceptedMessage
from sessions.turns import deletion, inbox, sessions
from sessions.turns.definitions import definitions_of
from sessions.turns.sessions import open_session

router = Router()

#: A session's key may contain slashes.
ONE = "/sessions/{path:session_id}"
MESSAGE = ONE + "/messages/{message_id}"


@router.post("/message", response={200: MessageOut, 502: ErrorOut, **ERRORS}, exclude_none=True, tags=["messages"])
async def post_message(request: HttpRequest, body: MessageIn) -> MessageOut:
    """Store a message for an agent to answer, and with `wait` return the answer."""
    require_clean(body.session_id, body.message, body.client_message_id or "")
    if not body.message.strip():
        raise Rejected(ErrorCode.EMPTY_MESSAGE, "The message is empty: write something in `message`.")
    await caller_of(request).authorize(Action.TURN)
    when = when_of(body.when, body.interrupt)
    async with store_timeout() as deadline:
        session = await in_thread(open_session)(owner(request).pk, body.session_id)
        bind_session(session)
        accepted = await handle_message(
            session.pk,
            body.message,
            client_message_id=body.client_message_id,
            interrupt=when == "interrupt",
            steer=when == "steer",
            images=body.images,
            replaces=body.replaces,
            api_key=caller_of(request).api_key,
            deadline=deadline,
        )
    announce(accepted)
    out = MessageOut(
        session_id=session.key,
        message_id=accepted.message_id,
        turn_id=accepted.turn_id,
        status=TurnStatus.QUEUED.value,
        repeated=accepted.repeated,
    )
    return await _outcome(out, accepted, body.timeout) if body.wait else out


def takes_over(event: LoggedEvent, message_id: str) -> bool:
    """Return whether an event gives a message to another turn, as the open one has ended before a step read it."""
    return event.kind == EventKind.TURN_QUEUED and message_id in event.payload.get("messages", ())


async def _outcome(out: MessageOut, accepted: AcceptedMessage, timeout: float) -> MessageOut:
    """Return how the turn stands once it has ended or waits for a tool, or when time is up."""
    turn_id = str(accepted.turn_id)
    out.status = TurnStatus.RUNNING.value
    try:
        async with asyncio.timeout(timeout):
            async for event in Feed(accepted.session_id, accepted.number):
                payload = event.payload
                if takes_over(event, str(out.message_id)):
                    turn_id = payload["turn_id"]
                    out.turn_id, out.answer = uuid.UUID(turn_id), None
                if payload.get("turn_id") != turn_id:
                    continue
                if event.kind == EventKind.MESSAGE_ADDED and payload["role"] == MessageRole.ASSISTANT:
                    out.answer = AnswerOut(message_id=payload["message_id"], content=payload["content"])
                elif event.kind == EventKind.TURN_FAILED:
                    raise TurnFailed(
                        payload["error_code"],
                        payload["error"],
                        retry_after=payload.get("retry_after"),
                        turn_status="failed",
                        message_id=str(out.message_id),
                        turn_id=turn_id,
                        session_id=out.session_id,
                    )
                elif event.kind == EventKind.TURN_WAITING:
                    out.status = TurnStatus.WAITING.value
                    return out
                elif event.kind in ENDS_TURN:
                    out.status = event.kind.removeprefix("turn_")
                    return out
            # The session was deleted, and its last event is the only one that arrived.
            out.status = TurnStatus.CANCELLED.value
    except TimeoutError:
        pass
    return out


@router.post("/sessions", response={200: SessionOut, **ERRORS}, exclude_none=True, tags=["sessions"])
async def create_session(request: HttpRequest, body: SessionIn | None = None) -> Session:
    """Create a session, or return the existing one with this id."""
    key = (body and body.session_id) or str(uuid.uuid4())
    require_clean(key)
    await in_thread(open_session)(owner(request).pk, key)
    return await get_session(request, key)


@router.get("/sessions", response={200: SessionList, **ERRORS}, exclude_none=True, tags=["sessions"])
async def list_sessions(request: HttpRequest, limit: int = 100, offset: int = 0, query: str = "") -> dict[str, Any]:
    """List the caller's sessions: pinned ones, then the one used last first; with `query` those that have its words."""
    limit, offset = min(max(limit, 1), 1000), min(max(offset, 0), MAX_OFFSET_ROWS)
    require_clean(query)
    if query.strip():
        return await search(owner(request).pk, query, limit=limit, offset=offset)
    rows, total = await in_thread(history.listed_sessions)(owner(request).pk, limit=limit, offset=offset)
    return {"sessions": rows, "total": total, "limit": limit, "offset": offset}


@router.get(f"{ONE}/settings", response={200: Settings, **ERRORS}, tags=["sessions"])
async def get_settings(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """Return the settings of a session, with the rules that apply to it."""
    session = await session_of(request, session_id)
    return {
        "session_id": session.key,
        "title": session.title,
        "mode": session.mode,
        "modes": [mode for mode, _ in MODES],
        "current_agent": session.current_agent,
        "agent_chosen": session.pinned,
        "client_tools": session.client_tools,
        "tool_definitions": [tool.fields for tool in (await in_thread(definitions_of)(session)).values()],
        "rules": await rules_of(session.owner_id, session),
    }


@router.get(f"{ONE}/history", response={200: History, **ERRORS}, exclude_none=True, tags=["sessions"])
async def get_history(
    request: HttpRequest,
    session_id: str,
    limit: int = history.MAX_PAGE_MESSAGES,
    before: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
) -> HttpResponse:
    """Return the newest messages of a session, or those before or after a message, oldest first."""
    session = await session_of(request, session_id)
    await caller_of(request).record_opening(session_id)
    limit = min(max(limit, 1), history.MAX_PAGE_MESSAGES)

    def page() -> bytes:
        return history.as_json(history.history(session, limit=limit, before=before, after=after))

    return HttpResponse(await in_thread(page)(), content_type="application/json; charset=utf-8")


@router.post(f"{ONE}/cancel", response={200: CancelledTurn, 409: ErrorOut, **ERRORS}, tags=["sessions"])
async def cancel_turn(request: HttpRequest, session_id: str, turn_id: uuid.UUID | None = None) -> CancelledTurn:
    """Stop a turn; without an id, the one that is running, waiting or next."""
    async with store_timeout() as deadline:
        session = await session_of(request, session_id)
        change = await stop_turn(session.pk, turn_id, deadline=deadline)
    announce(change)
    return CancelledTurn(turn_id=turn_id or change.events[-1].payload["turn_id"])


@router.get(f"{ONE}/queue", response={200: MessageQueue, **ERRORS}, tags=["messages"])
async def get_queue(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """List the messages that wait for their answer, the next one first."""
    session = await session_of(request, session_id)
    rows = await in_thread(inbox.waiting_messages)(session.pk)
    return {
        "messages": [
            {"message_id": row.pk, "turn_id": row.turn_id, "content": row.content, "steer": row.steered} for row in rows
        ]
    }


@router.patch(MESSAGE, response={200: WaitingMessage, 409: ErrorOut, **ERRORS}, tags=["messages"])
async def edit_message(request: HttpRequest, session_id: str, message_id: uuid.UUID, body: EditIn) -> WaitingMessage:
    """Change the text of a message that waits for its answer."""
    require_clean(body.content)
    change = await store_change(session_of(request, session_id), inbox.edit_message, message_id, body.content)
    return WaitingMessage(**change.events[-1].payload)


@router.delete(MESSAGE, response={200: WithdrawnMessage, 409: ErrorOut, **ERRORS}, tags=["messages"])
async def withdraw_message(request: HttpRequest, session_id: str, message_id: uuid.UUID) -> WithdrawnMessage:
    """Withdraw a message that waits for its answer."""
    change = await store_change(session_of(request, session_id), inbox.withdraw_message, message_id)
    last = change.events[-1]
    status = "cancelled" if last.kind == EventKind.TURN_CANCELLED else "withdrawn"
    return WithdrawnMessage(turn_id=last.payload["turn_id"], status=status)


@router.get(f"{ONE}/events", response={200: EventPage, **ERRORS}, exclude_none=True, tags=["sessions"])
async def get_events(request: HttpRequest, session_id: str, after: int = 0) -> Any:
    """Return a page of the events with numbers above `after`, or with `Accept: text/event-stream` a stream of them."""
    session = await session_of(request, session_id)
    after = max(last_event_id(request) or after, 0)
    if after > MAX_EVENT_NUMBER:
        raise Rejected(ErrorCode.INVALID_FIELD, f"Field `after` is not usable: use a number up to {MAX_EVENT_NUMBER}.")
    if "text/event-stream" in request.headers.get("Accept", ""):
        user_id = owner(request).pk
        open_streams.require_free(user_id)
        events = stream(session.pk, after, writable_of(request))
        return stream_response(
            until_signed_out(until_draining(counted(events, user_id)), caller_of(request)), "text/event-stream"
        )
    return {"events": list(await in_thread(log.since)(session.pk, after)), "last_number": session.last_number}


# Routes match in this order, and this path would match those above, too.
@router.get(ONE, response={200: SessionOut, **ERRORS}, exclude_none=True, tags=["sessions"])
async def get_session(request: HttpRequest, session_id: str) -> Session:
    """Return a session."""
    session = await _counted(request, session_id)
    await caller_of(request).record_opening(session_id)
    return session


@router.patch(ONE, response={200: SessionOut, **ERRORS}, exclude_none=True, tags=["sessions"])
async def change_session(request: HttpRequest, session_id: str, body: SessionChange) -> Session:
    """Change the title, the mode or the pin of a session."""
    require_clean(body.title or "")
    change = {"title": body.title, "mode": body.mode, "pinned": body.pinned}
    await store_change(session_of(request, session_id), sessions.change_session, **change)
    return await _counted(request, session_id)


@router.delete(ONE, response={200: DeletedSession, **ERRORS}, tags=["sessions"])
async def delete_session(request: HttpRequest, session_id: str) -> DeletedSession:
    """Stop a session's turns and delete it with its whole content."""
    await store_change(session_of(request, session_id), deletion.delete_session)
    return DeletedSession(id=session_id, session_id=session_id)


async def _counted(request: HttpRequest, key: str) -> Session:
    return await first_of(history.sessions_of(owner(request).pk).filter(key=key), no_session(key))
