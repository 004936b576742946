"""A worker process: Celery's threads outside, one event loop inside that runs all its turns.

Celery's threads only wait. One loop means one connection to each provider and to Redis, one writer for all streams,
and turns that can be cancelled, which Celery's thread pool cannot do.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import uuid
from functools import cache

import structlog
from celery import current_app
from django.db import Error as DatabaseError
from django.utils import timezone

from llm import calls
from sessions import broker
from sessions.database import in_thread
from sessions.events.log import Attempt
from sessions.events.pubsub import WORKERS, subscribe
from sessions.models import Worker
from sessions.results import Change
from sessions.turns import approvals, attempts, recovery
from sessions.worker import runner
from sessions.worker.writer import Writer

logger = structlog.get_logger(__name__)

#: Seconds between two signs of life: leases are renewed and the worker's row is touched.
HEARTBEAT_INTERVAL_SECONDS = 3.0
#: Seconds between two looks for turns that were left behind.
RECOVERY_INTERVAL_SECONDS = 1.0
#: Seconds that a process which is told to end waits for turns that it took without a task.
SHUTDOWN_GRACE_SECONDS = 5.0


class WorkerProcess:
    """Everything that exists once in a worker process."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.loop = asyncio.new_event_loop()
        self.leases: dict[Attempt, runner.Lease] = {}
        #: Turns that it runs at once, at most.
        self._room = current_app.conf.worker_concurrency or 1
        self._taken: set[asyncio.Task[None]] = set()
        self._is_draining = False
        #: Turns for other workers to take, once this one takes none itself.
        self.handed_over: list[uuid.UUID] = []
        self._started_at = timezone.now()
        self._ready = threading.Event()
        threading.Thread(target=self._run_loop, name="turns", daemon=True).start()
        self._ready.wait()

    def run(self, turn_id: uuid.UUID) -> uuid.UUID | None:
        """Run a turn in the loop and wait for it; return the turn that is ready now. For Celery's threads."""
        return asyncio.run_coroutine_threadsafe(self._advance(turn_id), self.loop).result()

    async def _advance(self, turn_id: uuid.UUID) -> uuid.UUID | None:
        ready: uuid.UUID | None = turn_id
        if not self._is_draining:
            ready = await runner.advance(turn_id, worker=self.name, writer=self.writer, leases=self.leases)
        if self._is_draining and ready:
            self.handed_over.append(ready)
            return None
        return ready

    def drain(self) -> None:
        """Give all turns back, because the process is told to end; what others may take, they take at once."""
        self._is_draining = True
        self.loop.call_soon_threadsafe(self._cancel_all)

    def wait_drained(self) -> None:
        """Wait until the turns that were taken without a task are given back; Celery waits for those of its own."""
        asyncio.run_coroutine_threadsafe(self._wait_drained(), self.loop).result()

    async def _wait_drained(self) -> None:
        if self._taken:
            await asyncio.wait(self._taken, timeout=SHUTDOWN_GRACE_SECONDS)
        await calls.close()

    def _cancel_all(self) -> None:
        for lease in self.leases.values():
            lease.task.cancel()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        except Exception:
            # Without its loop the process would take tasks and do nothing; a new process does better.
            logger.exception("worker_crashed")
            os._exit(1)

    async def _live(self) -> None:
        self.writer = Writer()
        self._ready.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.writer.run())
            tasks.create_task(self._heartbeat())
            tasks.create_task(self._look_around())
            tasks.create_task(self._listen())

    async def _heartbeat(self) -> None:
        while True:
            try:
                lost = await in_thread(self._report)(set(self.leases))
            except DatabaseError as error:
                # Turns go on: if the database is away for longer than the lease, their writes will be refused.
                logger.warning("heartbeat_failed", error=type(error).__name__)
                lost = set()
            for attempt in lost:
                self._let_go(attempt)
            await asyncio.sleep(HEARTBEAT_INTERVAL_SECONDS)

    def _let_go(self, attempt: Attempt) -> None:
        if lease := self.leases.get(attempt):
            lease.is_lost = True
            lease.task.cancel()

    async def _listen(self) -> None:
        """Let turns go that were stopped; what is missed here is found by the heartbeat."""
        async for message in subscribe(WORKERS):
            stopped = message and message["turn_id"]
            for attempt in [attempt for attempt in self.leases if str(attempt[0]) == stopped]:
                logger.info("turn_stopped", turn_id=stopped, attempt=attempt[1])
                self._let_go(attempt)

    async def _look_around(self) -> None:
        """Find turns that were left behind: bring them on, and run them here as far as there is room."""
        while True:
            # Not all workers at the same moment.
            await asyncio.sleep(RECOVERY_INTERVAL_SECONDS * random.uniform(0.8, 1.2))
            if self._is_draining:
                continue
            try:
                room = max(self._room - len(self.leases), 0)
                changes, turns = await in_thread(_left_behind)(room)
            except DatabaseError as error:
                logger.warning("look_failed", error=type(error).__name__)
                continue
            for change in changes:
                self.writer.publish(change.events)
                turns += [change.ready] if change.ready else []
            # A turn whose session is locked is found again and again while it waits to be claimed.
            being_taken = {task.get_name() for task in self._taken}
            for turn_id in [turn_id for turn_id in turns if str(turn_id) not in being_taken][:room]:
                task = asyncio.create_task(self._take(turn_id), name=str(turn_id))
                self._taken.add(task)
                task.add_done_callback(self._taken.discard)

    async def _take(self, turn_id: uuid.UUID) -> None:
        logger.info("turn_taken_without_task", turn_id=str(turn_id))
        try:
            await broker.enqueue_turn_soon(await self._advance(turn_id))
        except DatabaseError as error:
            # It is still queued, or its lease will run out: somebody looks again.
            logger.warning("turn_not_run", turn_id=str(turn_id), error=type(error).__name__)

    def _report(self, held: set[Attempt]) -> set[Attempt]:
        now = timezone.now()
        Worker.objects.update_or_create(
            name=self.name,
            defaults={"seen_at": now, "running_turns": len(held)},
            create_defaults={"seen_at": now, "started_at": self._started_at, "running_turns": len(held)},
        )
        return attempts.renew(held)


def _left_behind(room: int) -> tuple[list[Change], list[uuid.UUID]]:
    changes = [recovery.recover(turn_id) for turn_id in recovery.expired_turns()]
    changes += [approvals.expire(approval_id) for approval_id in approvals.expired_approvals()]
    return changes, recovery.unclaimed_turns(room) if room else []


@cache
def this_worker() -> WorkerProcess:
    """Return the process's worker, made when it is first asked for."""
    return WorkerProcess()
