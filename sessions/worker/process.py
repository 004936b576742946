"""A worker process: one event loop runs all its turns, and Celery's threads must only wait for it.

One loop means one connection to each provider and to Redis, one writer for all streams, and turns that can be
cancelled, which Celery's thread pool cannot do.
"""

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
from sessions.events.pubsub import WORKERS, TurnStopped, listen
from sessions.models import Worker
from sessions.results import Change
from sessions.turns import approvals, attempts, recovery
from sessions.watchdog import Watchdog
from sessions.worker import runner
from sessions.worker.writer import Writer

logger = structlog.get_logger(__name__)

#: Seconds between two updates of the worker's row, which also renew its leases.
HEARTBEAT_INTERVAL_SECONDS = 3.0
#: Seconds between two searches for turns that no worker runs.
RECOVERY_INTERVAL_SECONDS = 1.0
#: Seconds that a process waits at its end for turns that it runs without a task.
SHUTDOWN_GRACE_SECONDS = 5.0


class WorkerProcess:
    """What exists once in a worker process: its event loop, its writer and the leases of its turns."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.loop = asyncio.new_event_loop()
        self.leases: dict[Attempt, runner.Lease] = {}
        self._max_turns = current_app.conf.worker_concurrency or 1
        #: Turns that it runs without a task.
        self._recoveries: set[asyncio.Task[None]] = set()
        self._is_draining = False
        #: Turns to enqueue for other workers when this one claims none any more.
        self.turns_to_enqueue: list[uuid.UUID] = []
        self._started_at = timezone.now()
        self._ready = threading.Event()
        threading.Thread(target=self._run_loop, name="turns", daemon=True).start()
        self._ready.wait()

    def run(self, turn_id: uuid.UUID) -> uuid.UUID | None:
        """Run a turn's next step and wait for it, in a thread of Celery's; return the turn that is ready now."""
        return asyncio.run_coroutine_threadsafe(self._advance(turn_id), self.loop).result()

    async def _advance(self, turn_id: uuid.UUID) -> uuid.UUID | None:
        ready: uuid.UUID | None = turn_id
        if not self._is_draining:
            ready = await runner.advance(turn_id, worker=self.name, writer=self.writer, leases=self.leases)
        if self._is_draining and ready:
            self.turns_to_enqueue.append(ready)
            return None
        return ready

    def drain(self) -> None:
        """Claim no more turns and release those that run, because the process is to end."""
        self._is_draining = True
        self.loop.call_soon_threadsafe(self._cancel_all)

    def wait_drained(self) -> None:
        """Wait until the turns that run without a task are released. Celery waits for its own tasks."""
        asyncio.run_coroutine_threadsafe(self._wait_drained(), self.loop).result()

    async def _wait_drained(self) -> None:
        if self._recoveries:
            await asyncio.wait(self._recoveries, timeout=SHUTDOWN_GRACE_SECONDS)
        await calls.close()

    def _cancel_all(self) -> None:
        for lease in self.leases.values():
            lease.task.cancel()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._run_tasks())
        except Exception:
            # Without its loop the process would take tasks and do nothing. Its supervisor starts another one.
            logger.exception("worker_crashed")
            os._exit(1)

    async def _run_tasks(self) -> None:
        self.writer = Writer()
        self._watchdog = Watchdog(asyncio.get_running_loop())
        self._ready.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.writer.run())
            tasks.create_task(self._heartbeat())
            tasks.create_task(self._recover())
            # The heartbeat finds stopped turns whose message was lost.
            tasks.create_task(listen(WORKERS, TurnStopped, self._stop))

    async def _heartbeat(self) -> None:
        while True:
            try:
                lost = await in_thread(self._report)(set(self.leases))
            except DatabaseError as error:
                # Turns go on. When the database is away for longer than a lease, it refuses their writes.
                logger.warning("heartbeat_failed", error=type(error).__name__)
                lost = set()
            for attempt in lost:
                self._abandon(attempt)
            await asyncio.sleep(HEARTBEAT_INTERVAL_SECONDS)

    def _abandon(self, attempt: Attempt) -> None:
        if lease := self.leases.get(attempt):
            lease.is_lost = True
            lease.task.cancel()

    def _stop(self, message: TurnStopped | None) -> None:
        """Abandon a turn that its user has stopped."""
        for attempt in [attempt for attempt in self.leases if message and attempt[0] == message.turn_id]:
            logger.info("turn_stopped", turn_id=str(attempt[0]), attempt=attempt[1])
            self._abandon(attempt)

    async def _recover(self) -> None:
        """Move turns on that no worker runs, and run as many of them here as this worker can."""
        while True:
            # At random, so that not all workers search at the same moment.
            await asyncio.sleep(RECOVERY_INTERVAL_SECONDS * random.uniform(0.8, 1.2))
            if self._is_draining:
                continue
            try:
                capacity = max(self._max_turns - len(self.leases), 0)
                changes, turns = await in_thread(_recover_turns)(capacity)
            except DatabaseError as error:
                logger.warning("look_failed", error=type(error).__name__)
                continue
            for change in changes:
                self.writer.publish(change.events)
                turns += [change.ready] if change.ready else []
            # While its session is locked, a turn cannot be claimed and each search finds it again.
            waiting = {task.get_name() for task in self._recoveries}
            for turn_id in [turn_id for turn_id in turns if str(turn_id) not in waiting][:capacity]:
                task = asyncio.create_task(self._run_without_task(turn_id), name=str(turn_id))
                self._recoveries.add(task)
                task.add_done_callback(self._recoveries.discard)

    async def _run_without_task(self, turn_id: uuid.UUID) -> None:
        logger.info("turn_taken_without_task", turn_id=str(turn_id))
        try:
            await broker.enqueue_turn_soon(await self._advance(turn_id))
        except DatabaseError as error:
            # The turn is still queued, or its lease will expire: a worker finds it again.
            logger.warning("turn_not_run", turn_id=str(turn_id), error=type(error).__name__)

    def _report(self, leases: set[Attempt]) -> set[Attempt]:
        """Update the worker's row and renew its leases; return those that are lost."""
        fields = {"seen_at": timezone.now(), "running_turns": len(leases)}
        Worker.objects.update_or_create(
            name=self.name, defaults=fields, create_defaults={**fields, "started_at": self._started_at}
        )
        return attempts.renew(leases)


def _recover_turns(limit: int) -> tuple[list[Change], list[uuid.UUID]]:
    changes = [recovery.recover(turn_id) for turn_id in recovery.expired_turns()]
    changes += [approvals.expire(approval_id) for approval_id in approvals.expired_approvals()]
    return changes, recovery.unclaimed_turns(limit) if limit else []


@cache
def this_worker() -> WorkerProcess:
    """Return the worker of this process; the first call creates it."""
    return WorkerProcess()
