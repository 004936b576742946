"""REST: sessions, their history, and sending a message without a socket. Shapes are those of the original.

Everything is looked up through its owner: somebody else's session looks exactly like one that does not exist.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from sessions.api.commands import announce, handle_message, store_timeout
from sessions.api.http import (
    ERRORS,
    MAX_NUMBER,
    MAX_OFFSET,
    ErrorOut,
    no_session,
    owned,
    owner,
    require_clean,
    streamed,
    writable_of,
)
from sessions.api.rest import serializers
from sessions.api.rest.event_stream import numbered, stream
from sessions.api.rest.schemas import (
    Answer,
    CancelOut,
    EditIn,
    EventOut,
    EventPage,
    History,
    MessageIn,
    MessageOut,
    Queue,
    SessionChange,
    SessionDeleted,
    SessionIn,
    SessionList,
    SessionOut,
    WaitingMessage,
)
from sessions.api.streaming import until_signed_out
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import EmptyMessage, InvalidField, TurnFailed
from sessions.events import log
from sessions.events.feed import ENDS_TURN, Feed
from sessions.models import EventKind, MessageRole, TurnStatus
from sessions.results import Accepted
from sessions.turns import attempts, inbox, sessions
from sessions.turns.sessions import open_session

router = Router()


#: A session's name may have slashes in it.
ONE = "/sessions/{path:session_id}"
MESSAGE = ONE + "/messages/{message_id}"


@router.post("/message", response={200: MessageOut, 502: ErrorOut, **ERRORS}, exclude_none=True, tags=["messages"])
async def post_message(request: HttpRequest, body: MessageIn) -> MessageOut:
    """Send a message. It is stored when this answers; with `wait` the answer comes along."""
    require_clean(body.session_id, body.message, body.client_message_id or "")
    if not body.message.strip():
        raise EmptyMessage("The message is empty: write something in `message`.")
    await caller_of(request).authorize(Action.TURN)
    async with store_timeout() as deadline:
        session = await in_thread(open_session)(owner(request).pk, body.session_id)
        accepted = await handle_message(
            session.pk,
            body.message,
            client_message_id=body.client_message_id,
            interrupt=body.interrupt,
            images=body.images,
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


async def _outcome(out: MessageOut, accepted: Accepted, timeout: float) -> MessageOut:
    """Follow the session until the turn has ended or waits for a tool, or time is up: then it is still open."""
    turn_id = str(accepted.turn_id)
    out.status = TurnStatus.RUNNING.value
    try:
        async with asyncio.timeout(timeout):
            async for event in Feed(accepted.session_id, accepted.number):
                payload = event.payload
                if payload.get("turn_id") != turn_id:
                    continue
                if event.kind == EventKind.MESSAGE_ADDED and payload["role"] == MessageRole.ASSISTANT:
                    out.answer = Answer(message_id=payload["message_id"], content=payload["content"])
                elif event.kind == EventKind.TURN_FAILED:
                    more = {"message_id": str(out.message_id), "turn_id": turn_id, "session_id": out.session_id}
                    raise TurnFailed(
                        payload["error_code"],
                        payload["error"],
                        retry_after=payload.get("retry_after"),
                        turn_status="failed",
                        **more,
                    )
                elif event.kind == EventKind.TURN_WAITING:
                    out.status = TurnStatus.WAITING.value
                    return out
                elif event.kind in ENDS_TURN:
                    out.status = event.kind.removeprefix("turn_")
                    return out
            # The session was deleted, and the word of it was all that came through.
            out.status = TurnStatus.CANCELLED.value
    except TimeoutError:
        pass
    return out


@router.post("/sessions", response={200: SessionOut, **ERRORS}, tags=["sessions"])
async def create_session(request: HttpRequest, body: SessionIn | None = None) -> SessionOut:
    """Make a session, or return the one that has this id already."""
    key = (body and body.session_id) or str(uuid.uuid4())
    require_clean(key)
    await in_thread(open_session)(owner(request).pk, key)
    await caller_of(request).record_opening(key)
    return await _shown(request, key)


@router.get("/sessions", response={200: SessionList, **ERRORS}, tags=["sessions"])
async def list_sessions(request: HttpRequest, limit: int = 100, offset: int = 0) -> SessionList:
    """List the caller's sessions, the one used last first."""
    limit, offset = min(max(limit, 1), 1000), min(max(offset, 0), MAX_OFFSET)
    return await in_thread(serializers.page)(owner(request).pk, limit, offset)


@router.get(f"{ONE}/history", response={200: History, **ERRORS}, exclude_none=True, tags=["sessions"])
async def get_history(request: HttpRequest, session_id: str) -> History:
    """Return a session's messages, oldest first."""
    session = await owned(request, session_id)
    await caller_of(request).record_opening(session_id)
    return await in_thread(serializers.history)(session)


@router.post(f"{ONE}/cancel", response={200: CancelOut, 409: ErrorOut, **ERRORS}, tags=["sessions"])
async def cancel_turn(request: HttpRequest, session_id: str, turn_id: uuid.UUID | None = None) -> CancelOut:
    """Stop a turn, or without an id the one that is running, waiting or next."""
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        change = await in_thread(attempts.cancel)(session.pk, turn_id, deadline=deadline)
    announce(change)
    return CancelOut(turn_id=change.events[-1].payload["turn_id"])


@router.get(f"{ONE}/queue", response={200: Queue, **ERRORS}, tags=["messages"])
async def get_queue(request: HttpRequest, session_id: str) -> Queue:
    """List the messages that wait for their answer, the next one first."""
    session = await owned(request, session_id)
    waiting = await in_thread(inbox.waiting_messages)(session.pk)
    return Queue(
        messages=[WaitingMessage(message_id=row.pk, turn_id=row.turn_id, content=row.content) for row in waiting]
    )


@router.patch(MESSAGE, response={200: WaitingMessage, 409: ErrorOut, **ERRORS}, tags=["messages"])
async def edit_message(request: HttpRequest, session_id: str, message_id: uuid.UUID, body: EditIn) -> WaitingMessage:
    """Change the text of a message that waits for its answer."""
    require_clean(body.content)
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        change = await in_thread(inbox.edit_message)(session.pk, message_id, body.content, deadline=deadline)
    announce(change)
    return WaitingMessage(**change.events[-1].payload)


@router.delete(MESSAGE, response={200: CancelOut, 409: ErrorOut, **ERRORS}, tags=["messages"])
async def withdraw_message(request: HttpRequest, session_id: str, message_id: uuid.UUID) -> CancelOut:
    """Take back a message that waits for its answer."""
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        change = await in_thread(inbox.withdraw_message)(session.pk, message_id, deadline=deadline)
    announce(change)
    return CancelOut(turn_id=change.events[-1].payload["turn_id"])


@router.get(f"{ONE}/events", response={200: EventPage, **ERRORS}, exclude_none=True, tags=["sessions"])
async def get_events(request: HttpRequest, session_id: str, after: int = 0) -> Any:
    """Return the events with numbers above `after`: a page, or for `Accept: text/event-stream` all as they come."""
    session = await owned(request, session_id)
    last_seen = request.headers.get("Last-Event-ID", "")
    after = max(int(last_seen) if last_seen.isdecimal() else after, 0)
    if after > MAX_NUMBER:
        raise InvalidField("Field `after` is not usable: it is larger than any number.")
    if "text/event-stream" in request.headers.get("Accept", ""):
        events = stream(session.pk, after, writable_of(request))
        return streamed(until_signed_out(events, caller_of(request)), "text/event-stream")
    page = await in_thread(log.since)(session.pk, after)
    return EventPage(
        events=[EventOut(**numbered(event)) for event in page],
        last_number=session.last_number,
    )


# Last of its kind: it would swallow the paths above.
@router.get(ONE, response={200: SessionOut, **ERRORS}, tags=["sessions"])
async def get_session(request: HttpRequest, session_id: str) -> SessionOut:
    """Return a session."""
    shown = await _shown(request, session_id)
    await caller_of(request).record_opening(session_id)
    return shown


@router.patch(ONE, response={200: SessionOut, **ERRORS}, tags=["sessions"])
async def change_session(request: HttpRequest, session_id: str, body: SessionChange) -> SessionOut:
    """Give a session another title or another mode."""
    require_clean(body.title or "")
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        change = await in_thread(sessions.change_session)(
            session.pk, title=body.title, mode=body.mode, deadline=deadline
        )
    announce(change)
    return await _shown(request, session_id)


@router.delete(ONE, response={200: SessionDeleted, **ERRORS}, tags=["sessions"])
async def delete_session(request: HttpRequest, session_id: str) -> SessionDeleted:
    """Delete a session with all that was said in it. What is under way is stopped first."""
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        change = await in_thread(sessions.delete_session)(session.pk, deadline=deadline)
    announce(change)
    return SessionDeleted(id=session.key, session_id=session.key)


async def _shown(request: HttpRequest, key: str) -> SessionOut:
    row = await in_thread(serializers.flat)(owner(request).pk, key)
    if row is None:
        raise no_session(key)
    return row
