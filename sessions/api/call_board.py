"""The tool calls that the sockets of this process have: which socket has which, and one look for all of them.

10,000 sockets whose users think about an approval cost one UPDATE of one row and one query each BEAT_INTERVAL_SECONDS,
for the whole process. The board never decides who gets a call: `sessions.turns.call_offers` does.
"""

import asyncio
import uuid
from collections import defaultdict
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog

from sessions.database import in_thread
from sessions.models import new_id
from sessions.turns import call_offers

logger = structlog.get_logger(__name__)

BEAT_INTERVAL_SECONDS = 5.0


class Holder(Protocol):
    """A dispatcher, as the board sees it."""

    session_id: uuid.UUID
    runner: str

    def look(self) -> None:
        """Look for calls now."""

    def take_over(self) -> None:
        """Take the calls of another socket of the same runner, which is closed."""


class CallBoard:
    """The dispatchers of one event loop whose sessions have open calls."""

    def __init__(self) -> None:
        #: Names this process in the rows of calls.
        self.process = new_id()
        self._watching: dict[uuid.UUID, set[Holder]] = defaultdict(set)
        self._holders: dict[tuple[uuid.UUID, str], Holder] = {}
        self._task: asyncio.Task[None] | None = None

    async def watch(self, dispatcher: Holder) -> None:
        """Let the dispatcher look when a call of its session is free, until `leave`. Raises DatabaseError."""
        self._watching[dispatcher.session_id].add(dispatcher)
        if self._task is None:
            # Before the first call is given out: a process without a row counts as gone.
            self._task = asyncio.create_task(self._beat())
            await in_thread(call_offers.beat)(self.process, [])

    def hold(self, dispatcher: Holder, call_id: str, *, takes_over: bool) -> bool:
        """Return whether the dispatcher is the one of this process that sends the call."""
        key = dispatcher.session_id, call_id
        if takes_over:
            self._holders[key] = dispatcher
        return self._holders.setdefault(key, dispatcher) is dispatcher

    def leave(self, dispatcher: Holder) -> list[str]:
        """Forget a dispatcher. Return the ids of the calls it had, unless another socket of its runner takes them."""
        watching = self._watching[dispatcher.session_id]
        watching.discard(dispatcher)
        if not watching:
            del self._watching[dispatcher.session_id]
        keys = [key for key, holder in self._holders.items() if holder is dispatcher]
        for key in keys:
            del self._holders[key]
        heir = next((other for other in watching if other.runner == dispatcher.runner), None)
        if heir is not None and keys:
            heir.take_over()
            return []
        for other in watching:
            other.look()
        return [call_id for _, call_id in keys]

    async def _beat(self) -> None:
        """Renew the row of this process while dispatchers watch: between two steps of a turn, none does."""
        while True:
            await asyncio.sleep(BEAT_INTERVAL_SECONDS)
            if not self._watching:
                self._task = None
                return
            try:
                free = await in_thread(call_offers.beat)(self.process, list(self._watching))
            except Exception as error:
                logger.warning("open_calls_not_looked_at", error=type(error).__name__)
                continue
            for session_id in free:
                for dispatcher in list(self._watching.get(session_id, ())):
                    dispatcher.look()


_boards: WeakKeyDictionary[asyncio.AbstractEventLoop, CallBoard] = WeakKeyDictionary()


def current_board() -> CallBoard:
    """Return the board of the running event loop."""
    return _boards.setdefault(asyncio.get_running_loop(), CallBoard())
