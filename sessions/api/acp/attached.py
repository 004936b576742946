"""A session that one connection follows: its events as updates, its prompts, questions and tool calls.

The state may be lost at any time. A client that comes back names its cursor, and what the updates before it have told
is read again from the log, without being sent.
"""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from sessions.api.acp import rpc
from sessions.api.acp.editor import Editor
from sessions.api.acp.history import context_usage, start_of_open_turns, turn_end
from sessions.api.acp.options import commands
from sessions.api.acp.peer import Peer
from sessions.api.acp.permissions import Permissions
from sessions.api.acp.tools import ToolRuns
from sessions.api.acp.updates import Translator, Update
from sessions.api.tool_dispatcher import ToolDispatcher
from sessions.callers import Caller
from sessions.database import in_thread
from sessions.events import log
from sessions.events.feed import ENDS_TURN, Feed
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, MessageRole, Session, ToolCall
from sessions.results import AcceptedMessage

logger = structlog.get_logger(__name__)

#: Events after which the questions to the user may be others.
ASKS = (EventKind.TOOL_CALL_REQUESTED, EventKind.PLAN_PROPOSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What a connection offers to the sessions that it follows."""

    peer: Peer
    caller: Caller
    send: Callable[[str], Awaitable[None]]
    #: Closes the connection: a client connects again, but would wait forever for events that do not come.
    fail: Callable[[], Awaitable[None]]
    writable: asyncio.Event | None
    #: Names the client that runs tools, over its connections.
    runner: str
    capabilities: dict[str, Any] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        """Return whether the client has a capability, such as `session`, `notices`."""
        value: Any = self.capabilities
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value is not None and value is not False


class AttachedSession:
    """One session on one connection."""

    def __init__(
        self, session: Session, folder: str, client: Client, *, runs: str, definitions: frozenset[str] = frozenset()
    ) -> None:
        """`runs`: who runs tool calls here: the `client` by its own tools, its `editor`, or none.

        `definitions` are the hashes of the tools that the client defines.
        """
        self.session, self.folder, self._client = session, folder, client
        self._permissions = Permissions(session, folder, client.peer, client.caller)
        editor = Editor(session.key, folder, client.peer, self._show_terminal) if runs == "editor" else None
        self._tools = ToolRuns(session, client.peer, client.caller, editor)
        self._runs_tools, self._definitions = bool(runs), definitions
        self._dispatcher: ToolDispatcher | None = None
        #: Ids of the messages that this client has sent, and shows by itself.
        self._own_messages: set[str] = set()
        #: Held while a prompt is stored: its events wait until it is known whose they are.
        self.accepting = asyncio.Lock()
        #: The prompts that wait for the end of a turn, by its id.
        self._prompts: defaultdict[str, list[rpc.RequestId]] = defaultdict(list)
        self._stopped_turns: set[str] = set()
        #: The number of the newest event that the client has been told, and who waits for one.
        self._number = 0
        self._passed: list[tuple[int, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def follow(self, after: int, part: int = 0, *, own_messages: set[str]) -> None:
        """Send what follows an event, of which `part` updates of the next one were sent. Returns when caught up."""
        self._own_messages |= own_messages
        session = self.session
        self._translator = Translator(
            self.folder,
            self._own_messages,
            agent=session.current_agent,
            mode=session.mode,
            can_show_notices=self._client.has("session", "notices"),
        )
        if after:
            await self._read_again(after)
        self._number, self._part = after, part
        self._feed = Feed(session.pk, after, self._client.writable)
        caught_up = self.passed(session.last_number)
        self._is_live = False
        self._spawn(self._send_events(self._feed))
        await caught_up
        self._is_live = True
        await self._permissions.look()
        if self._runs_tools and self._dispatcher is None:
            self._dispatcher = ToolDispatcher(
                session.pk, self._client.runner, self._run_call, asks_user=False, live_after=session.last_number
            )
            self._dispatcher.define(self._definitions)

    async def greet(self) -> None:
        """Send what does not come from events: the commands, and how full the context is."""
        await self.update({"sessionUpdate": "available_commands_update", "availableCommands": commands()})
        if self._number:
            await self._send_usage()

    async def close(self) -> None:
        """Stop following. Prompts get no answer any more."""
        for task in self._tasks:
            task.cancel()
        self._permissions.close()
        self._tools.close()
        if self._dispatcher is not None:
            await self._dispatcher.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def update(self, update: Update, cursor: str = "") -> None:
        """Send an update; one without an event has the cursor of the event before it."""
        params = {"sessionId": self.session.key, "update": update, "_meta": {"acp/cursor": cursor or str(self._number)}}
        await self._client.send(rpc.notification("session/update", params))

    def passed(self, number: int) -> asyncio.Future[None]:
        """Return a future that is done when the client has been told of the event with this number."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._number >= number:
            future.set_result(None)
        else:
            self._passed.append((number, future))
        return future

    def bind(self, request_id: rpc.RequestId, accepted: AcceptedMessage) -> None:
        """Answer a prompt when its turn ends. Call it while `accepting` is held."""
        self._own_messages.add(str(accepted.message_id))
        turn_id = str(accepted.turn_id)
        self._prompts[turn_id].append(request_id)
        if self._dispatcher is not None:
            self._dispatcher.prefer(turn_id)
        if accepted.repeated:
            self._spawn(self._answer_ended(accepted.turn_id))

    @property
    def cursor(self) -> str:
        """Return where the client continues that has all that was sent."""
        return str(self._number)

    @property
    def prompts(self) -> int:
        """Return how many prompts wait for their answers."""
        return sum(map(len, self._prompts.values()))

    def take_over(self, other: "AttachedSession") -> None:
        """Answer the prompts of the same connection that another object has followed."""
        self._own_messages |= other._own_messages
        self._stopped_turns |= other._stopped_turns
        for turn_id, request_ids in other._prompts.items():
            self._prompts[turn_id] += request_ids
            self._spawn(self._answer_ended(uuid.UUID(turn_id)))

    async def ended(self) -> None:
        """Return when all prompts are answered, or after a while."""
        for _ in range(100):
            if not self._prompts:
                return
            await asyncio.sleep(0.05)

    def stop_prompts(self) -> list[uuid.UUID]:
        """Return the turns that prompts of this connection wait for; they count as stopped by their client now."""
        self._stopped_turns |= self._prompts.keys()
        return [uuid.UUID(turn_id) for turn_id in self._prompts]

    def turn_of(self, request_id: rpc.RequestId) -> uuid.UUID | None:
        """Return the turn that a prompt waits for; it counts as stopped by its client now."""
        for turn_id, request_ids in self._prompts.items():
            if request_id in request_ids:
                self._stopped_turns.add(turn_id)
                return uuid.UUID(turn_id)
        return None

    async def _read_again(self, after: int) -> None:
        """Give the translator the events of the open turns up to a number, as if they had been sent."""
        number = await in_thread(start_of_open_turns)(self.session.pk, after)
        while number < after:
            page = await in_thread(log.since)(self.session.pk, number)
            for event in page:
                if event.number > after:
                    return
                self._translator.updates(event)
                number = event.number
            if not page:
                return

    async def _send_events(self, feed: Feed) -> None:
        try:
            async for event in feed:
                if event.kind == EventKind.MESSAGE_ADDED and event.payload["role"] == MessageRole.USER:
                    async with self.accepting:
                        pass
                await self._tell(event)
        except Exception:
            logger.exception("feed_crashed")
            await self._client.fail()

    async def _tell(self, event: LoggedEvent) -> None:
        updates = self._translator.updates(event)
        # A client that was cut off within an event has its first updates.
        skipped, self._part = self._part, 0
        for cursor, update in updates[skipped:]:
            await self.update(update, cursor)
        self._number = event.number
        call_id, turn_id = event.payload.get("call_id", ""), event.payload.get("turn_id", "")
        if event.kind in (EventKind.APPROVAL_DECIDED, EventKind.TOOL_CALL_FINISHED):
            self._permissions.withdraw(call_id)
        if event.kind == EventKind.TOOL_CALL_FINISHED:
            self._tools.stop(call_id)
        if self._is_live:
            if event.kind in ASKS or event.kind in ENDS_TURN:
                await self._permissions.look()
            if event.kind in ENDS_TURN:
                self._tools.stop_turn(turn_id)
                await self._send_usage()
        if self._dispatcher is not None:
            self._dispatcher.notify(event)
        if event.kind in ENDS_TURN:
            await self._end_prompts(turn_id, event.kind, event.payload)
        elif event.kind == EventKind.SESSION_DELETED:
            for turn_id in list(self._prompts):
                await self._end_prompts(turn_id, EventKind.TURN_CANCELLED, {})
        due = [future for number, future in self._passed if number <= self._number]
        self._passed = [entry for entry in self._passed if entry[0] > self._number]
        for future in due:
            if not future.done():
                future.set_result(None)

    async def _end_prompts(self, turn_id: str, kind: str, payload: dict[str, Any]) -> None:
        is_stopped = turn_id in self._stopped_turns
        self._stopped_turns.discard(turn_id)
        for request_id in self._prompts.pop(turn_id, []):
            if kind == EventKind.TURN_CANCELLED or (is_stopped and kind == EventKind.TURN_FAILED):
                answer = rpc.result(request_id, {"stopReason": "cancelled"})
            elif kind == EventKind.TURN_FAILED:
                names = ("error_code", "retry_after", "turn_id")
                data = {name: payload[name] for name in names if payload.get(name) is not None}
                answer = rpc.error(request_id, rpc.Code.INTERNAL_ERROR, payload["error"], data)
            else:
                answer = rpc.result(request_id, {"stopReason": "end_turn"})
            await self._client.send(answer)

    async def _answer_ended(self, turn_id: uuid.UUID) -> None:
        """Answer a repeated prompt whose turn has ended already, when the client has been told all of it."""
        end = await in_thread(turn_end)(turn_id)
        if end is not None:
            kind, payload, number = end
            await self.passed(number)
            await self._end_prompts(str(turn_id), kind, payload)

    async def _run_call(self, call: ToolCall, number: int | None) -> None:
        self._tools.start(call)

    async def _show_terminal(self, call_id: str, terminal_id: str) -> None:
        content = [{"type": "terminal", "terminalId": terminal_id}]
        await self.update({"sessionUpdate": "tool_call_update", "toolCallId": call_id, "content": content})

    async def _send_usage(self) -> None:
        if usage := await in_thread(context_usage)(self.session.pk):
            await self.update({"sessionUpdate": "usage_update", **usage})
