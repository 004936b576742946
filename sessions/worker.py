"""A worker process: Celery's threads outside, one event loop inside that runs all its turns.

Celery's threads only wait. One loop means one connection to each provider and to Redis, one writer for all streams,
and turns that can be cancelled, which Celery's thread pool cannot do.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import uuid
from functools import cache

import structlog
from django.db import Error as DatabaseError
from django.utils import timezone

from sessions import lifecycle, runner
from sessions.log import Attempt, LoggedEvent
from sessions.models import Worker
from sessions.threads import in_thread
from sessions.writer import Writer

logger = structlog.get_logger(__name__)

#: Seconds between two signs of life: leases are renewed and the worker's row is touched.
HEARTBEAT = 4.0


class WorkerProcess:
    """Everything that exists once in a worker process."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.loop = asyncio.new_event_loop()
        self.leases: dict[Attempt, runner.Lease] = {}
        self._parked = False
        #: Turns for other workers to take, once this one takes none itself.
        self.handed_over: list[uuid.UUID] = []
        self._started_at = timezone.now()
        self._ready = threading.Event()
        threading.Thread(target=self._run_loop, name="turns", daemon=True).start()
        self._ready.wait()

    def run(self, turn_id: uuid.UUID) -> uuid.UUID | None:
        """Run a turn in the loop and wait for it; return the turn that is ready now. For Celery's threads."""
        if self._parked:
            ready: uuid.UUID | None = turn_id
        else:
            coroutine = runner.advance(turn_id, worker=self.name, writer=self.writer, leases=self.leases)
            ready = asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()
        if self._parked and ready:
            self.handed_over.append(ready)
            return None
        return ready

    def publish(self, events: list[LoggedEvent]) -> None:
        """Show events that were committed outside the loop."""
        self.loop.call_soon_threadsafe(self.writer.publish, events)

    def park(self) -> None:
        """Give all turns back, because the process is told to end; what others may take, they take at once."""
        self._parked = True
        self.loop.call_soon_threadsafe(self._cancel_all)

    def _cancel_all(self) -> None:
        for lease in self.leases.values():
            lease.task.cancel()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._live())

    async def _live(self) -> None:
        self.writer = Writer()
        self._ready.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.writer.run())
            tasks.create_task(self._heartbeat())

    async def _heartbeat(self) -> None:
        while True:
            try:
                lost = await in_thread(self._report)(set(self.leases))
            except DatabaseError as error:
                # Turns go on: if the database is away for longer than the lease, their writes will be refused.
                logger.warning("heartbeat_failed", error=type(error).__name__)
                lost = set()
            for attempt in lost:
                if lease := self.leases.get(attempt):
                    lease.lost = True
                    lease.task.cancel()
            await asyncio.sleep(HEARTBEAT)

    def _report(self, held: set[Attempt]) -> set[Attempt]:
        now = timezone.now()
        Worker.objects.update_or_create(
            name=self.name,
            defaults={"seen_at": now, "running_turns": len(held)},
            create_defaults={"seen_at": now, "started_at": self._started_at, "running_turns": len(held)},
        )
        return lifecycle.renew(held)


@cache
def this_worker() -> WorkerProcess:
    """Return the process's worker, made when it is first asked for."""
    return WorkerProcess()
