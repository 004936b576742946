"""The socket of a session: frames in, events out. It never waits for a model and holds no state worth keeping.

A handler returns in milliseconds, because a socket's frames are handled one at a time. A bad frame is answered and
ends nothing. Everything that is sent comes from the event log, except the answers to frames that were refused. To a
client that does not read nothing is sent, and in the end nothing more is taken from it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import structlog
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError

from sessions import metrics, protocol
from sessions.api.commands import announce, handle_frame, store_timeout
from sessions.api.errors import explain
from sessions.api.websocket.dialects import Dialect, accepted_frame, call_frame, frames_of
from sessions.api.websocket.snapshot import snapshot
from sessions.api.websocket.tool_offers import Offers
from sessions.callers import Action, Caller
from sessions.database import in_thread
from sessions.errors import AccessDenied, SessionDeleted
from sessions.events import reads
from sessions.events.feed import Feed
from sessions.models import EventKind, Session, ToolCall, new_id
from sessions.protocol import (
    EVENTS_SUBPROTOCOL,
    CloseCode,
    ErrorCode,
    FrameError,
    Hello,
    Rejected,
    Request,
    UserMessage,
)
from sessions.results import Accepted, Change
from sessions.turns.sessions import open_session, set_client_plans, set_client_tools

logger = structlog.get_logger(__name__)

#: Digits of the largest number that an event can have.
MAX_NUMBER_LENGTH = 18
#: Characters of answers that may wait for a client that does not read; its next frame waits when there are more.
UNREAD = 64 * 1024


class SessionConsumer(AsyncWebsocketConsumer):
    """One WebSocket on one session, in the protocol of the original service (docs/protocol.md)."""

    # The consumer follows its session by itself (`Feed`). Channels would connect to the layer before the socket is
    # even accepted, refuse it while Redis is away, and submit work to a thread for each message of the layer.
    channel_layer_alias = ""

    #: What is streamed unless the client asks for something else with `?stream=`.
    default_tokens = True
    agents = False

    async def connect(self) -> None:
        """Accept at once: whoever is kept waiting here for five seconds is dropped by the server without a word."""
        self.key: str = self.scope["url_route"]["kwargs"]["key"]
        self.session: Session | None = None
        self.sending: asyncio.Task[None] | None = None
        self.watching: asyncio.Task[None] | None = None
        scope: Any = self.scope
        #: Set while the client reads; under a server that does not tell, nothing waits.
        self.writable: asyncio.Event | None = scope.get("writable")
        self.unread = 0
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        stream = query.get("stream", [""])[0]
        after = query.get("after", [""])[0]
        #: Who runs tools at this end: a name of the client's own, or this socket.
        self.runner = query.get("client_id", [""])[0][: protocol.MAX_CLIENT_ID_LENGTH].replace("\x00", "")
        self.offers: Offers | None = None
        #: Number of the last event that a client without `hello` has seen, if it says so.
        self.after = int(after) if after.isdecimal() and len(after) <= MAX_NUMBER_LENGTH else None
        tokens = {"tokens": True, "messages": False}.get(stream, self.default_tokens)
        chosen = next((name for name in protocol.SUBPROTOCOLS if name in self.scope["subprotocols"]), None)
        events = chosen == protocol.EVENTS_SUBPROTOCOL
        plans = query.get("plans", [""])[0] == "1" and not events
        self.dialect = Dialect(tokens=tokens, agents=self.agents, plans=plans, events=events)
        await self.accept(chosen)
        metrics.open_sockets.inc()
        socket_id = str(new_id())
        self.runner = self.runner or socket_id
        structlog.contextvars.bind_contextvars(socket_id=socket_id)
        self.caller: Caller = scope["caller"]
        if not 0 < len(self.key) <= protocol.MAX_KEY_LENGTH or "\x00" in self.key:
            text = f"The name of a session has 1 to {protocol.MAX_KEY_LENGTH} characters."
            await self.reject(Rejected(ErrorCode.INVALID_SESSION_KEY, text))
        else:
            # A failure is told when a frame comes: nothing is sent to a client that has not spoken.
            with suppress(DatabaseError, TimeoutError):
                try:
                    async with store_timeout():
                        session = await self.attach()
                except AccessDenied as error:
                    await self.reject(error)
                    return
                if not events:
                    self.follow(session, self.start_of(session))

    async def reject(self, error: Exception) -> None:
        """Answer with an error frame and count it; close the socket where the error ends it."""
        problem = explain(error)
        if problem.close_code is not None and self.sending not in (None, asyncio.current_task()):
            self.sending.cancel()
        metrics.frames_refused.labels(error_code=str(problem.code)).inc()
        frame = protocol.error_frame(str(problem.code), problem.text, retry_after=problem.retry_after)
        await self.send(protocol.encode(frame))
        if problem.close_code is not None:
            await self.close(int(problem.close_code))

    async def watch(self) -> None:
        """End the socket when its caller is signed out."""
        await self.reject(await self.caller.signed_out())

    async def attach(self) -> Session:
        """Find out who is calling and open the session; raises AccessDenied."""
        if self.session is None:
            user = await self.caller.identify(self.key)
            await self.caller.authorize(Action.CONNECTION)
            session = await in_thread(open_session)(user.pk, self.key)
            if self.dialect.plans:
                await in_thread(set_client_plans)(session.pk, True)
            structlog.contextvars.bind_contextvars(session_id=str(session.pk))
            self.session = session
            self.watching = asyncio.create_task(self.watch())
        return self.session

    def follow(self, session: Session, after: int) -> None:
        """Send what happens in the session from here on, and nothing else that was being sent."""
        if self.sending is not None:
            self.sending.cancel()
        self.feed = Feed(session.pk, after, self.writable)
        self.sending = asyncio.create_task(self.send_events(self.feed))
        if not self.dialect.events:
            self.run_tools(session, asking=True)

    def run_tools(self, session: Session, *, asking: bool) -> None:
        """Let this client have tool calls to run; with `asking` also those that its user must be asked about."""
        if self.offers is None:
            self.offers = Offers(session.pk, self.runner, self.offer, asking=asking)

    async def offer(self, call: ToolCall, number: int | None) -> None:
        """Send a tool call that this client has to run."""
        await self.send(protocol.encode(call_frame(call, number)))

    async def disconnect(self, code: int) -> None:
        """Stop following; nothing else may depend on this being called."""
        metrics.open_sockets.dec()
        for task in (self.sending, self.watching):
            if task is not None:
                task.cancel()
        if self.offers is not None:
            await self.offers.close()

    async def send_events(self, feed: Feed) -> None:
        """Send what happens in the session, for as long as the socket is open."""
        try:
            async for event in feed:
                for frame in frames_of(event, self.dialect):
                    await self.send(frame)
                if event.kind == EventKind.SESSION_DELETED:
                    await self.reject(SessionDeleted())
                    return
                if self.offers is not None:
                    self.offers.note(event)
        except Exception:
            # A socket that has gone deaf is worse than one that is closed: its client comes back.
            logger.exception("feed_crashed")
            await self.close(int(CloseCode.INTERNAL_ERROR))

    async def send(  # type: ignore[override]  # as Channels' own consumer of sockets overrides it
        self, text_data: str | None = None, bytes_data: bytes | None = None, close: bool = False
    ) -> None:
        """Send a frame, and count what is sent to a client that does not read."""
        if self.writable is not None:
            self.unread = 0 if self.writable.is_set() else self.unread + len(text_data or "")
        await super().send(text_data, bytes_data, close)

    async def websocket_receive(self, message: Any) -> None:
        """Handle a frame, and take the next one when the client has read enough of the answers."""
        await super().websocket_receive(message)
        # Not before the answer: what this frame asks for, such as a stop, must not wait for a slow line.
        if self.writable is not None and self.unread > UNREAD:
            await self.writable.wait()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one frame; whatever is wrong with it is answered with an error frame."""
        try:
            if text_data is None:
                raise FrameError(ErrorCode.BINARY_FRAME, "Frames are JSON text; this one was binary.")
            frame = protocol.decode(text_data)
            async with store_timeout() as deadline:
                session = await self.attach()
                await self.caller.authorize(Action.READ if isinstance(frame, Hello) else Action.WRITE)
                if isinstance(frame, Hello):
                    await self.welcome(session, frame)
                    return
                if self.sending is None:
                    self.begin(session)
                change = await self.store(session, frame, deadline)
            self.feed.refresh()
            announce(change)
        except Session.DoesNotExist:
            # A request would not find its session; a socket has lost the only one it is for, and is closed.
            await self.reject(SessionDeleted())
        except Exception as error:
            await self.reject(error)

    def begin(self, session: Session) -> None:
        """Follow a session that could not be followed when the socket was opened."""
        if self.dialect.events:
            raise FrameError(ErrorCode.HELLO_FIRST, "Say `hello` first, with the number of the last event you have.")
        self.follow(session, self.start_of(session))

    def start_of(self, session: Session) -> int:
        """Return the number to go on from: where the client says it was, or now."""
        return session.last_number if self.after is None else min(self.after, session.last_number)

    async def welcome(self, session: Session, hello: Hello) -> None:
        """Tell a client where it stands, and go on from there."""
        after = hello.after
        if not self.dialect.events:
            raise FrameError(ErrorCode.UNKNOWN_TYPE, f"`hello` belongs to the subprotocol {EVENTS_SUBPROTOCOL}.")
        if hello.tools is not None:
            await in_thread(set_client_tools)(session.pk, hello.tools)
            self.runner = hello.client_id or self.runner
        if hello.plans is not None:
            await in_thread(set_client_plans)(session.pk, hello.plans)
        if after is not None and await in_thread(reads.can_replay)(session.pk, after):
            frame = protocol.Welcome(mode="replay", after=after)
        else:
            state = await in_thread(snapshot)(session.pk)
            frame = protocol.Welcome(mode="snapshot", after=state["number"], snapshot=state)
        await self.send(protocol.encode(frame))
        self.follow(session, frame.after)
        if hello.tools is not None:
            # People are asked by the events; who runs what they allow is one client.
            self.run_tools(session, asking=False)

    async def store(self, session: Session, frame: Request, deadline: float) -> Change:
        """Store what the frame says, and acknowledge a message."""
        if isinstance(frame, UserMessage):
            await self.caller.authorize(Action.TURN)
        change = await handle_frame(session, frame, api_key=self.caller.api_key, deadline=deadline)
        if isinstance(frame, UserMessage) and isinstance(change, Accepted):
            if self.offers is not None:
                self.offers.prefer(str(change.turn_id))
            logger.info("message_accepted", turn_id=str(change.turn_id), length=len(frame.content))
            if self.dialect.events:
                await self.send(protocol.encode(accepted_frame(change, frame)))
        return change


class OriginalConsumer(SessionConsumer):
    """The same for the path that the original's real clients use: whole messages, and which agent answers."""

    default_tokens = False
    agents = True


class NoSuchSocket(AsyncWebsocketConsumer):
    """Any other path: refused before it is opened, which a client sees as HTTP 403."""

    channel_layer_alias = ""

    async def connect(self) -> None:
        await self.close()
