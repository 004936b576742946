"""The socket of a session: frames in, events out. It never waits for a model, and its state may be lost.

A handler returns in milliseconds, because a socket's frames are handled one at a time. A bad frame gets an answer and
ends nothing. Everything that is sent comes from the event log, except the answers to a client's own frames. A client
that does not read gets no events, and in the end its frames wait.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import structlog

from sessions import metrics
from sessions.api.commands import announce, handle_frame, store_timeout
from sessions.api.draining import drain
from sessions.api.errors import explain
from sessions.api.shown_text import ShownText
from sessions.api.tool_dispatcher import ToolDispatcher
from sessions.api.websocket.dialects import Dialect, accepted_frame, call_frame, frames_of
from sessions.api.websocket.hello import actions_of, check_hello, store_hello, welcome_to, welcome_to_new
from sessions.api.websocket.opening import SessionSocket
from sessions.database import in_thread
from sessions.errors import SessionDeleted, ShuttingDown
from sessions.events.feed import Feed
from sessions.models import EventKind, Session, ToolCall, new_id
from sessions.protocol import client, codes, server
from sessions.protocol.client import Hello, Request, UserMessage
from sessions.protocol.codes import CloseCode, ErrorCode, FrameError, Rejected
from sessions.results import AcceptedMessage, Change
from sessions.turns.sessions import set_client_plans

logger = structlog.get_logger(__name__)

#: Digits of the largest number that an event can have.
MAX_NUMBER_DIGITS = 18


class SessionConsumer(SessionSocket):
    """One WebSocket on one session, in the protocol of the original service (docs/protocol.md).

    A session that does not exist yet has no row, however many sockets wait for it: its first message makes it.
    """

    #: What is streamed unless the client asks for something else with `?stream=`.
    default_tokens = True
    agents = False

    async def connect(self) -> None:
        """Accept at once, because the server drops without a word a client that waits here for five seconds."""
        scope: Any = self.scope
        self.open(scope["url_route"]["kwargs"]["key"], scope["caller"])
        self.writable = scope.get("writable")
        #: What a client of `codelab.v2` has said. It is stored with the session.
        self.hello: Hello | None = None
        self.sending: asyncio.Task[None] | None = None
        self.dispatcher: ToolDispatcher | None = None
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        after = query.get("after", "")
        #: Number of the last event that a client without `hello` has seen, if it names one.
        self.after = int(after) if after.isdecimal() and len(after) <= MAX_NUMBER_DIGITS else None
        tokens = {"tokens": True, "messages": False}.get(query.get("stream", ""), self.default_tokens)
        subprotocol = next((name for name in codes.SUBPROTOCOLS if name in scope["subprotocols"]), None)
        events = subprotocol == codes.EVENTS_SUBPROTOCOL
        plans = query.get("plans") == "1" and not events
        self.dialect = Dialect(tokens=tokens, agents=self.agents, plans=plans, events=events)
        await self.accept(subprotocol)
        metrics.open_sockets.inc()
        socket_id = str(new_id())
        #: The client that runs tools here, by a name of its own or by this socket.
        self.runner = query.get("client_id", "")[: codes.MAX_CLIENT_ID_LENGTH].replace("\x00", "") or socket_id
        structlog.contextvars.bind_contextvars(socket_id=socket_id)
        if not 0 < len(self.key) <= codes.MAX_KEY_LENGTH or "\x00" in self.key:
            text = f"The name of a session has 1 to {codes.MAX_KEY_LENGTH} characters."
            await self.reject(Rejected(ErrorCode.INVALID_SESSION_KEY, text))
            return
        await self.join_or_retry()

    async def reject(self, error: Exception, ref: str | None = None) -> None:
        """Answer the frame `ref` with an error and count it; close the socket where the error ends it."""
        problem = explain(error)
        if problem.close_code is not None and self.sending not in (None, asyncio.current_task()):
            self.sending.cancel()
        metrics.frames_refused.labels(error_code=str(problem.code)).inc()
        fields = {"retry_after": problem.retry_after, "ref": ref}
        await self.send(server.encode(server.error_frame(str(problem.code), problem.text, **fields)))
        if problem.close_code is not None:
            await self.close(int(problem.close_code))

    @property
    def begins_at_once(self) -> bool:
        """Return whether a session begins when its socket is opened: not before a client may say `hello`."""
        return not self.dialect.events

    async def enter(self, session: Session, *, is_new: bool) -> None:
        """Use a session from now on, and store what the client has said before it existed."""
        structlog.contextvars.bind_contextvars(session_id=str(session.pk), session_key=self.key)
        if self.dialect.plans:
            await in_thread(set_client_plans)(session.pk, True)
        definitions = frozenset[str]()
        if self.hello:
            change, definitions = await store_hello(session, self.hello, is_first=True)
            announce(change)
        # All events of a session that began later came after the client did.
        if is_new and (self.hello or not self.dialect.events):
            self.follow(session, 0)
        if is_new and self.hello and self.hello.tools:
            self.run_tools(session, asks_user=False, definitions=definitions, takes_over=False)

    def joined(self, session: Session) -> None:
        """Follow the session for a client that says no `hello`."""
        if self.sending is None and not self.dialect.events:
            self.follow(session)

    def follow(self, session: Session, after: int | None = None) -> None:
        """Send the events behind `after`, or behind the number that the client named, or from now on."""
        if after is None:
            after = session.last_number if self.after is None else min(self.after, session.last_number)
        if self.sending is not None:
            self.sending.cancel()
        self.feed = Feed(session.pk, after, self.writable)
        self.sending = asyncio.create_task(self.send_events(self.feed))
        if not self.dialect.events:
            self.run_tools(session, asks_user=True)

    def run_tools(
        self, session: Session, *, asks_user: bool, definitions: frozenset[str] = frozenset(), takes_over: bool = True
    ) -> None:
        """Send tool calls to this client; with `asks_user` also those that its user must approve.

        With `takes_over` it gets the open calls of its runner, as it has come back.
        """
        if self.dispatcher is None:
            self.dispatcher = ToolDispatcher(
                session.pk,
                self.runner,
                self.send_call,
                asks_user=asks_user,
                takes_over=takes_over,
                live_after=session.last_number,
            )
        self.dispatcher.define(definitions)

    async def send_call(self, call: ToolCall, number: int | None) -> None:
        """Send a tool call that this client has to run."""
        await self.send(server.encode(call_frame(call, number)))

    async def disconnect(self, code: int) -> None:
        """Stop all that this socket does. It may never be called, so nothing else depends on it."""
        metrics.open_sockets.dec()
        self.leave()
        if self.sending is not None:
            self.sending.cancel()
        if self.dispatcher is not None:
            await self.dispatcher.close()

    async def send_events(self, feed: Feed) -> None:
        """Send the events of the session while the socket is open."""
        shown = ShownText()
        try:
            async for event in feed:
                for frame in frames_of(event, self.dialect, shown):
                    await self.send(frame)
                if event.kind == EventKind.SESSION_DELETED:
                    await self.reject(SessionDeleted())
                    return
                if self.dispatcher is not None:
                    self.dispatcher.notify(event)
        except Exception:
            # A client reconnects after a close, but would wait forever at a socket without events.
            logger.exception("feed_crashed")
            await self.close(int(CloseCode.INTERNAL_ERROR))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one frame; answer any error with an error frame."""
        ref = None
        try:
            if text_data is None:
                raise FrameError(ErrorCode.BINARY_FRAME, "Frames are JSON text; this one was binary.")
            frame = client.decode(text_data)
            ref = frame.ref
            async with store_timeout() as deadline:
                session = await self.attach()
                await self.caller.authorize(*actions_of(frame))
                if isinstance(frame, Hello):
                    await self.welcome(session, frame, deadline)
                    return
                if self.dialect.events and self.hello is None:
                    text = "Say `hello` first, with the number of the last event you have."
                    raise FrameError(ErrorCode.HELLO_FIRST, text)
                if drain.is_draining and isinstance(frame, UserMessage):
                    # The socket is closed within two seconds. What continues a turn, or stops it, is taken until then.
                    raise ShuttingDown
                session = session or await self.begin()
                if self.sending is None:
                    self.follow(session)
                change = await self.store(session, frame, deadline)
            announce(change)
            if not change.events:
                # An earlier frame has done it, or nothing was to be done: the client may have missed events.
                self.feed.refresh()
            # It is this frame's, not the socket's.
            structlog.contextvars.unbind_contextvars("turn_id")
        except Session.DoesNotExist:
            # A request only reports this error, but a socket has lost its only session and is closed.
            await self.reject(SessionDeleted(), ref)
        except Exception as error:
            await self.reject(error, error.ref if isinstance(error, FrameError) and error.ref else ref)

    async def welcome(self, session: Session | None, hello: Hello, deadline: float) -> None:
        """Answer `hello` with what the client has missed, and follow the session from there."""
        if not self.dialect.events:
            text = f"`hello` belongs to the subprotocol {codes.EVENTS_SUBPROTOCOL}."
            raise FrameError(ErrorCode.UNKNOWN_TYPE, text)
        self.runner = hello.client_id or self.runner
        session = session or await (self.welcome_early(hello) if hello.lazy else self.begin())
        if session is None:
            return
        change, definitions = await store_hello(session, hello, deadline=deadline)
        self.hello = hello
        announce(change)
        frame = await welcome_to(session.pk, hello)
        await self.send(server.encode(frame))
        self.follow(session, frame.after)
        if hello.tools:
            # All clients see the approval in the events. Only the client that runs the call gets it here.
            self.run_tools(session, asks_user=False, definitions=definitions)
        elif hello.tools is not None and self.dispatcher is not None:
            # A client without tools must not be given the calls of another one.
            await self.dispatcher.close()
            self.dispatcher = None

    async def welcome_early(self, hello: Hello) -> Session | None:
        """Answer `hello` before the session exists; return it if it began meanwhile.

        No event may be sent before the answer, and none may be missed behind it, so nothing is entered until then.
        """
        async with self.attaching:
            if self.session is None:
                check_hello(hello)
                await self.send(server.encode(await welcome_to_new(self.key, hello)))
                self.hello = hello
            return self.session

    async def store(self, session: Session, frame: Request, deadline: float) -> Change:
        """Store what the frame asks for, and acknowledge a message or a frame with a `ref`."""
        change = await handle_frame(session, frame, api_key=self.caller.api_key, deadline=deadline)
        if isinstance(frame, UserMessage) and isinstance(change, AcceptedMessage):
            if self.dispatcher is not None:
                self.dispatcher.prefer(str(change.turn_id))
            if self.dialect.events:
                await self.send(server.encode(accepted_frame(change, frame)))
        elif frame.ref and self.dialect.events:
            await self.send(server.encode(server.Accepted(ref=frame.ref)))
        return change


class OriginalConsumer(SessionConsumer):
    """The path of the original's real clients: whole messages, and which agent answers."""

    default_tokens = False
    agents = True
