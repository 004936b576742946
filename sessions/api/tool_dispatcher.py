"""Sends a session's tool calls to one socket: each call to one client only, and to that one again when it comes back.

Nothing here decides whether a call may run or who gets it (`sessions.turns.call_offers`), and any client may send its
result. While calls are open the dispatcher waits for events, and for the board (`call_board`), and costs nothing.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

import structlog
from django.db import Error as DatabaseError

from sessions.api.call_board import current_board
from sessions.database import in_thread
from sessions.events.feed import ENDS_TURN
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, ToolCall
from sessions.turns import call_offers

logger = structlog.get_logger(__name__)

#: How long other clients leave a call to the client whose user sent the message.
PRIORITY_SECONDS = 0.3
#: Seconds before another try to read the calls.
RETRY_DELAY_SECONDS = 2.0

#: Sends a call to the client, with the number of its event unless it is sent again.
type SendCall = Callable[[ToolCall, int | None], Awaitable[None]]


class ToolDispatcher:
    """Gets the calls of a session for one socket, and sends it each once, and again after its approval."""

    def __init__(
        self,
        session_id: uuid.UUID,
        runner: str,
        send: SendCall,
        *,
        asks_user: bool,
        takes_over: bool = True,
        live_after: int = 0,
    ) -> None:
        """`live_after`: what `notify` gets up to this number is replayed, and older than what the first look finds."""
        self.session_id, self.runner, self._send, self._asks_user = session_id, runner, send, asks_user
        self._board = current_board()
        #: Hashes of the tools that the client has defined.
        self._definitions: frozenset[str] = frozenset()
        #: What was sent last of each call: its status, and when its client was told to run it.
        self._sent: dict[str, tuple[str, datetime | None]] = {}
        self._event_numbers: dict[str, int] = {}
        self._preferred_turns: set[str] = set()
        self._live_after = live_after
        #: The turn that waits for open calls, by its live event. A session has one at most.
        self._waiting_turn: str | None = None
        #: That turn goes on or has ended, so the session has no open call.
        self._is_over = False
        #: Until then it leaves the calls to the client whose user sent the message (`time` of the event loop).
        self._free_at = 0.0
        #: The first look of a client that has come back.
        self._takes_over = takes_over
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def prefer(self, turn_id: str) -> None:
        """Get the calls of this turn before other clients do, because this client's user sent its message."""
        self._preferred_turns.add(turn_id)

    def define(self, definitions: frozenset[str]) -> None:
        """Get calls of the tools that the client has defined, and of no other client's."""
        if definitions != self._definitions:
            self._definitions = definitions
            self._wake.set()

    def look(self) -> None:
        """Look for calls now."""
        self._wake.set()

    def take_over(self) -> None:
        """Take the calls of another socket of the same runner, which is closed."""
        self._takes_over = True
        self._wake.set()

    def notify(self, event: LoggedEvent) -> None:
        """Look for calls now if an event says that there may be some; stop when it says that none is open any more."""
        payload, kind = event.payload, event.kind
        is_live, waits = event.number > self._live_after, self._waiting_turn
        is_unknown = kind == EventKind.TOOL_CALL_REQUESTED and payload.get("unknown", False)
        if kind in (EventKind.TOOL_CALL_REQUESTED, EventKind.APPROVAL_DECIDED):
            self._event_numbers[payload["call_id"]] = event.number
        if kind in (EventKind.TURN_WAITING, EventKind.APPROVAL_DECIDED) or is_unknown:
            turn_id: str = payload["turn_id"]
            self._waiting_turn, self._is_over = turn_id if is_live else None, False
            # Also where it looks already: another client's turn may come to its calls while this one's first look runs.
            is_new = self._task.done() or (is_live and kind == EventKind.TURN_WAITING)
            if is_new and turn_id not in self._preferred_turns:
                self._free_at = asyncio.get_running_loop().time() + PRIORITY_SECONDS
            self._wake.set()
            if self._task.done():
                self._task = asyncio.create_task(self._run())
        elif waits and (kind == EventKind.TURN_QUEUED or kind in ENDS_TURN) and payload["turn_id"] == waits:
            self._waiting_turn, self._is_over = None, True
            self._event_numbers.clear()
            self._wake.set()
        elif not waits and (kind == EventKind.TOOL_CALL_FINISHED or kind in ENDS_TURN):
            self._wake.set()

    async def close(self) -> None:
        """Leave the calls to another socket of this client, now or when it comes back."""
        self._task.cancel()
        if call_ids := self._board.leave(self):
            with suppress(DatabaseError):
                await in_thread(call_offers.release)(self.session_id, self.runner, self._board.process, call_ids)

    async def _run(self) -> None:
        """Get and send calls until the session has no open call."""
        loop = asyncio.get_running_loop()
        has_open_calls = True
        # An event during the last query may be about a call that it did not see.
        while (has_open_calls or self._wake.is_set()) and not self._is_over:
            self._wake.clear()
            while (pause := self._free_at - loop.time()) > 0:  # noqa: ASYNC110 (a time, which may move)
                await asyncio.sleep(pause)
            retry_after: float | None = None
            try:
                has_open_calls = await self._send_calls()
            except DatabaseError as error:
                logger.warning("calls_not_read", error=type(error).__name__)
                retry_after = RETRY_DELAY_SECONDS
            if has_open_calls:
                with suppress(TimeoutError):
                    async with asyncio.timeout(retry_after):
                        await self._wake.wait()
        self._board.leave(self)

    async def _send_calls(self) -> bool:
        """Send what is new of this client's calls. Return whether the session has open calls."""
        await self._board.watch(self)
        # A client that opens a session asks for older approvals by itself (`pending-approvals`), and would otherwise
        # ask its user twice.
        new_approvals = {*self._event_numbers, *self._sent} if self._asks_user else set()
        takes_over, self._takes_over = self._takes_over, False
        offer = in_thread(call_offers.offer)
        try:
            calls, open_ids = await offer(
                self.session_id,
                self.runner,
                self._board.process,
                new_approvals=new_approvals,
                takes_over=takes_over,
                definitions=self._definitions,
            )
        except DatabaseError:
            self._takes_over = takes_over
            raise
        self._sent = {call_id: state for call_id, state in self._sent.items() if call_id in open_ids}
        for call in calls:
            if self._board.hold(self, call.call_id, takes_over=takes_over):
                await self._send_once(call)
        return bool(open_ids)

    async def _send_once(self, call: ToolCall) -> None:
        self._preferred_turns.add(str(call.turn_id))
        state = call.status, call.shown_at
        if self._sent.get(call.call_id) != state:
            self._sent[call.call_id] = state
            await self._send(call, self._event_numbers.pop(call.call_id, None))
