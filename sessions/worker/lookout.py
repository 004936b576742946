"""Looks for turns that no worker runs, and for workers that are dead.

Of all workers one at a time looks, so that more workers make no more work for the database. Each turn and each approval
is dealt with on its own: whatever goes wrong with one must not keep others waiting.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable

import structlog

from sessions.database import describe, in_look_thread, in_recovery_thread
from sessions.results import Change
from sessions.turns import approvals, call_offers, recovery
from sessions.worker import presence

logger = structlog.get_logger(__name__)

#: Seconds between two looks, and while a worker may be dead.
LOOK_INTERVAL_SECONDS, ALARMED_INTERVAL_SECONDS = 0.5, 0.35


class Lookout:
    """Recovers turns. `take` starts the turns that are ready, as far as `capacity` allows, and publishes events."""

    def __init__(self, worker: str, *, capacity: Callable[[], int], take: Callable[[Change], None]) -> None:
        self._worker, self._capacity, self._take = worker, capacity, take
        self._is_alarmed = False
        #: Recoveries under way, by the id of their turn or approval.
        self._recoveries: dict[uuid.UUID, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            interval = ALARMED_INTERVAL_SECONDS if self._is_alarmed else LOOK_INTERVAL_SECONDS
            # At random, so that not all workers look at the same moment.
            await asyncio.sleep(interval * random.uniform(0.8, 1.2))
            if await self._attempt(self._begin()):
                await self.look()

    async def _begin(self) -> bool:
        return await in_look_thread(presence.begin_look)(self._worker)

    async def look(self) -> None:
        """Look once. What one search raises does not keep the others from being made."""
        await self._attempt(self._find_dead_workers())
        await self._attempt(self._find_expired_turns())
        await self._attempt(self._find_expired_approvals())
        await self._attempt(self._find_lost_calls())
        await self._attempt(self._find_unclaimed_turns())

    async def _attempt[R](self, search: Awaitable[R]) -> R | None:
        try:
            return await search
        except Exception as error:
            logger.warning("look_failed", search=getattr(search, "__name__", ""), **describe(error))
            return None

    async def _find_dead_workers(self) -> None:
        lost, self._is_alarmed = await in_look_thread(presence.end_leases_of_dead_workers)()
        for turn_id, attempt in lost:
            logger.warning("worker_died", turn_id=str(turn_id), attempt=attempt)

    async def _find_expired_turns(self) -> None:
        for turn_id in await in_look_thread(recovery.expired_turns)():
            self._start(turn_id, self._recover)

    async def _find_expired_approvals(self) -> None:
        for approval_id in await in_look_thread(approvals.expired_approvals)():
            self._start(approval_id, self._expire)

    async def _find_lost_calls(self) -> None:
        for call_id in await in_look_thread(call_offers.lost_calls)():
            self._start(call_id, self._ask_again)

    async def _find_unclaimed_turns(self) -> None:
        if (capacity := self._capacity()) > 0:
            for turn_id in await in_look_thread(recovery.unclaimed_turns)(capacity):
                self._take(Change(ready=turn_id))

    def _start(self, row_id: uuid.UUID, recover: Callable[[uuid.UUID], Awaitable[None]]) -> None:
        if row_id not in self._recoveries:
            task = asyncio.create_task(self._attempt(recover(row_id)))
            self._recoveries[row_id] = task
            task.add_done_callback(lambda _: self._recoveries.pop(row_id))

    async def _recover(self, turn_id: uuid.UUID) -> None:
        self._take(await in_recovery_thread(recovery.recover_safely)(turn_id))

    async def _ask_again(self, call_id: uuid.UUID) -> None:
        self._take(await in_recovery_thread(call_offers.ask_again)(call_id))

    async def _expire(self, approval_id: uuid.UUID) -> None:
        try:
            self._take(await in_recovery_thread(approvals.expire)(approval_id))
        except Exception as error:
            logger.warning("approval_not_expired", approval_id=str(approval_id), **describe(error))
            await in_recovery_thread(approvals.postpone)(approval_id)
