"""Which client runs a tool call: one at a time, and another one when that one goes away.

A call that is open belongs to the runner that took it, for a few seconds at a time; its socket keeps it for as long as
it is there. A client that comes back gets the same calls again, under the same ids. Nothing here decides whether a
call may run, and a result is taken from whoever sends it: this only keeps two clients from doing the same work.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta

import structlog
from django.db import Error as DatabaseError
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.tools import TOOLS, RunsOn
from sessions.database import in_thread
from sessions.events.log import LoggedEvent
from sessions.models import OPEN_CALLS, EventKind, ToolCall, ToolCallStatus
from sessions.turns import tool_calls

logger = structlog.get_logger(__name__)

#: How long a call stays with a runner whose process has died.
HOLD = timedelta(seconds=6)
#: Seconds between two looks at calls that are open.
LOOK = 2.0
#: Seconds in which the client whose user has asked may take a call before others do.
COURTESY = 0.3

#: Shows a call to the client; with the number of the event that tells of it, unless it is offered again.
type Show = Callable[[ToolCall, int | None], Awaitable[None]]


def open_calls(session_id: uuid.UUID) -> QuerySet[ToolCall]:
    """Return the calls of a session that a client has to run, or to ask its user about, the oldest first."""
    ours = [name for name, spec in TOOLS.items() if spec.runs_on is RunsOn.SERVER]
    return tool_calls.open_calls(session_id).exclude(tool__in=ours)


def hold(session_id: uuid.UUID, runner: str, *, asking: Collection[str]) -> tuple[list[ToolCall], bool]:
    """Take what nobody has and keep what this runner has; return that, and whether any call of the session is open.

    `asking` are the ids of calls that it may ask its user about; of others it takes those that may run.
    """
    calls = list(open_calls(session_id))
    if not calls:
        return [], False
    now = timezone.now()
    free = Q(offered_to="") | Q(offered_to=runner) | Q(offered_until__lt=now)
    wanted = [call.pk for call in calls if call.status == ToolCallStatus.WAITING or call.call_id in asking]
    # Of two that take the same call at the same moment the second one waits for the first, and finds it taken.
    taken = ToolCall.objects.filter(free, pk__in=wanted, status__in=OPEN_CALLS)
    taken.update(offered_to=runner, offered_until=now + HOLD)
    mine = ToolCall.objects.filter(pk__in=wanted, offered_to=runner, status__in=OPEN_CALLS)
    return list(mine.order_by("created_at", "pk")), True


def let_go(session_id: uuid.UUID, runner: str) -> None:
    """Give back what a runner has of a session, because its socket is closed."""
    # Of this session alone: a client chooses its name, and other sessions have clients of the same one.
    held = open_calls(session_id).filter(offered_to=runner).values("pk")
    ToolCall.objects.filter(pk__in=held).update(offered_to="", offered_until=None)


class Offers:
    """Takes the calls of one session for one socket and shows each of them once, and again when it was approved."""

    def __init__(self, session_id: uuid.UUID, runner: str, show: Show, *, asking: bool) -> None:
        self._session_id, self._runner, self._show, self._asking = session_id, runner, show, asking
        #: The status in which a call was shown last.
        self._shown: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._turns: set[str] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = asyncio.create_task(self._run())

    def prefer(self, turn_id: str) -> None:
        """Take the calls of this turn before other clients do: this one's user has asked for it."""
        self._turns.add(turn_id)

    def note(self, event: LoggedEvent) -> None:
        """Look at once when an event says that there may be something to run."""
        if event.kind in (EventKind.TOOL_CALL_REQUESTED, EventKind.APPROVAL_DECIDED):
            self._numbers[event.payload["call_id"]] = event.number
        if event.kind in (EventKind.TURN_WAITING, EventKind.APPROVAL_DECIDED):
            self._news.set()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(event.payload["turn_id"]))

    async def close(self) -> None:
        """Give everything back, so that another client can run it."""
        if self._task is not None:
            self._task.cancel()
        if self._shown:
            with suppress(DatabaseError):
                await in_thread(let_go)(self._session_id, self._runner)

    async def _run(self, turn_id: str | None = None) -> None:
        """Look until no call of the session is open."""
        if turn_id is not None and turn_id not in self._turns:
            await asyncio.sleep(COURTESY)
        is_open = True
        # Also when there was news during the last look: that one may not have seen it.
        while is_open or self._news.is_set():
            self._news.clear()
            try:
                calls, is_open = await in_thread(hold)(self._session_id, self._runner, asking=self._asked_about())
            except DatabaseError as error:
                logger.warning("calls_not_read", session_id=str(self._session_id), error=type(error).__name__)
            else:
                for call in calls:
                    await self._offer(call)
            if is_open:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._news.wait()
        self._shown.clear()
        self._numbers.clear()

    def _asked_about(self) -> set[str]:
        # Only what has come up while it was here: a client that opens a session looks for older questions itself
        # (`pending-approvals`), and would ask its user twice.
        return {*self._numbers, *self._shown} if self._asking else set()

    async def _offer(self, call: ToolCall) -> None:
        self._turns.add(str(call.turn_id))
        if self._shown.get(call.call_id) != call.status:
            self._shown[call.call_id] = call.status
            await self._show(call, self._numbers.pop(call.call_id, None))
