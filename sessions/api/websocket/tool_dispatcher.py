"""Chooses the client that runs a tool call: one at a time, and another one when that one disconnects.

A runner leases a call for some seconds at a time, and its socket renews the lease while it is open. A client that
reconnects gets the same calls again, with the same ids. Nothing here decides whether a call may run, and any client may
send its result: a lease only keeps two clients from doing the same work.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta

import structlog
from django.db import Error as DatabaseError
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from agents.tools import TOOLS, RunsOn
from sessions.database import in_thread
from sessions.events.log import LoggedEvent
from sessions.models import OPEN_CALLS, EventKind, ToolCall, ToolCallStatus
from sessions.turns import tool_calls

logger = structlog.get_logger(__name__)

#: How long a call stays with a runner whose process died.
CALL_LEASE = timedelta(seconds=6)
#: Calls are leased and renewed this often while any is open.
POLL_INTERVAL_SECONDS = 2.0
#: How long other clients leave a call to the client whose user sent the message.
PRIORITY_SECONDS = 0.3

#: Sends a call to the client, with the number of its event unless it is sent again.
type SendCall = Callable[[ToolCall, int | None], Awaitable[None]]


def _open_calls(session_id: uuid.UUID) -> QuerySet[ToolCall]:
    """Return the calls of a session that a client runs, or asks its user about, the oldest first."""
    server_tools = [name for name, spec in TOOLS.items() if spec.runs_on is RunsOn.SERVER]
    return tool_calls.open_calls(session_id).exclude(tool__in=server_tools)


def lease_calls(session_id: uuid.UUID, runner: str, *, new_approvals: Collection[str]) -> tuple[list[ToolCall], bool]:
    """Lease free calls to a runner and renew its leases. Return its calls, and whether the session has open calls.

    `new_approvals` are the ids of calls that the runner may ask its user about. Of all others it gets those that may
    run.
    """
    calls = list(_open_calls(session_id))
    if not calls:
        return [], False
    free = Q(offered_to="") | Q(offered_to=runner) | Q(offered_until__lt=Now())
    ids = [call.pk for call in calls if call.status == ToolCallStatus.WAITING or call.call_id in new_approvals]
    rows = ToolCall.objects.filter(pk__in=ids, status__in=OPEN_CALLS)
    # Of two runners at the same moment the second one waits for the first one's row lock, and then finds its lease.
    rows.filter(free).update(offered_to=runner, offered_until=Now() + CALL_LEASE)
    return list(rows.filter(offered_to=runner).order_by("created_at", "pk")), True


def release_calls(session_id: uuid.UUID, runner: str) -> None:
    """Release the runner's calls of a session, because its socket is closed."""
    # Only of this session: clients choose their names, and a client of another session may have the same one.
    calls = _open_calls(session_id).filter(offered_to=runner).values("pk")
    ToolCall.objects.filter(pk__in=calls).update(offered_to="", offered_until=None)


class ToolDispatcher:
    """Leases the calls of a session for one socket, and sends it each once, and again after its approval."""

    def __init__(self, session_id: uuid.UUID, runner: str, send: SendCall, *, asks_user: bool) -> None:
        self._session_id, self._runner, self._send, self._asks_user = session_id, runner, send, asks_user
        #: Statuses in which calls were sent last.
        self._statuses: dict[str, str] = {}
        self._event_numbers: dict[str, int] = {}
        self._preferred_turns: set[str] = set()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def prefer(self, turn_id: str) -> None:
        """Lease the calls of this turn before other clients do, because this client's user sent its message."""
        self._preferred_turns.add(turn_id)

    def notify(self, event: LoggedEvent) -> None:
        """Look for calls now if an event says that there may be some."""
        if event.kind in (EventKind.TOOL_CALL_REQUESTED, EventKind.APPROVAL_DECIDED):
            self._event_numbers[event.payload["call_id"]] = event.number
        if event.kind in (EventKind.TURN_WAITING, EventKind.APPROVAL_DECIDED):
            self._wake.set()
            if self._task.done():
                self._task = asyncio.create_task(self._run(event.payload["turn_id"]))

    async def close(self) -> None:
        """Release all calls, so that another client can run them."""
        self._task.cancel()
        if self._statuses:
            with suppress(DatabaseError):
                await in_thread(release_calls)(self._session_id, self._runner)

    async def _run(self, turn_id: str | None = None) -> None:
        """Lease and send calls until the session has no open call."""
        if turn_id is not None and turn_id not in self._preferred_turns:
            await asyncio.sleep(PRIORITY_SECONDS)
        has_open_calls = True
        # An event during the last query may be about a call that it did not see.
        while has_open_calls or self._wake.is_set():
            self._wake.clear()
            # A client that opens a session asks for older approvals by itself (`pending-approvals`), and would
            # otherwise ask its user twice.
            new_approvals = {*self._event_numbers, *self._statuses} if self._asks_user else set()
            try:
                lease = in_thread(lease_calls)
                calls, has_open_calls = await lease(self._session_id, self._runner, new_approvals=new_approvals)
            except DatabaseError as error:
                logger.warning("calls_not_read", session_id=str(self._session_id), error=type(error).__name__)
            else:
                for call in calls:
                    await self._dispatch(call)
            if has_open_calls:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                        await self._wake.wait()
        self._statuses.clear()
        self._event_numbers.clear()

    async def _dispatch(self, call: ToolCall) -> None:
        self._preferred_turns.add(str(call.turn_id))
        if self._statuses.get(call.call_id) != call.status:
            self._statuses[call.call_id] = call.status
            await self._send(call, self._event_numbers.pop(call.call_id, None))
