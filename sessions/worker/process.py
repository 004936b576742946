"""A worker process: one event loop runs all its turns.

One loop means one connection to each provider and to Redis, one writer for all streams, and turns that can be
cancelled, which Celery's thread pool cannot do.
"""

import asyncio
import os
import re
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache, partial

import structlog
from celery import current_app
from django.conf import settings
from django.db import Error as DatabaseError

from llm import calls
from sessions import broker
from sessions.events.log import Attempt
from sessions.events.pubsub import WORKERS, TurnStopped, listen
from sessions.results import Change
from sessions.watchdog import Watchdog
from sessions.worker import runner
from sessions.worker.heartbeat import Heartbeat
from sessions.worker.lease import Lease
from sessions.worker.lookout import Lookout
from sessions.worker.writer import Writer

logger = structlog.get_logger(__name__)

#: Seconds that a process waits at its end for turns to be released.
RELEASE_TIMEOUT_SECONDS = 5.0
#: Seconds after which a task of the process that failed is started again.
RESTART_DELAY_SECONDS = 1.0
#: Seconds after the signal to stop in which Celery may still give this process tasks, and between two looks for turns
#: to hand on.
CONSUMER_STOP_SECONDS, HAND_ON_INTERVAL_SECONDS = 1.0, 0.2
#: Seconds after which a stop is tried again whose turn is just claimed.
CLAIM_PAUSE_SECONDS = 0.01


class WorkerProcess:
    """What exists once in a worker process: its event loop, its writer and the leases of its turns."""

    def __init__(self) -> None:
        self.name = _taken_names[-1] if _taken_names else new_name()
        self.loop = asyncio.new_event_loop()
        self.leases: dict[Attempt, Lease] = {}
        #: Turns whose next step is taken here, also while they are claimed and have no lease yet.
        self._advancing: set[uuid.UUID] = set()
        self._max_turns = current_app.conf.worker_concurrency or 1
        #: Turns that it runs without a task.
        self._recoveries: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._is_draining = False
        self._grace_ends_at = 0.0
        self._handing_on: asyncio.Task[None] | None = None
        #: Turns for other workers, when this one claims none any more.
        self.turns_to_enqueue: list[uuid.UUID] = []
        self._ready = threading.Event()
        threading.Thread(target=self._run_loop, name="turns", daemon=True).start()
        self._ready.wait()

    async def run(self, turn_id: uuid.UUID, task: str = "") -> Change:
        """Run a turn's steps for as long as it can go on; return what the last one led to. Hands on the next turn.

        `task` is the id of Celery's task. Where the worker is full, another task brings the next step: turns that wait
        for a worker come first.
        """
        change = await self._step(turn_id, task)
        while change.ready == turn_id and self._capacity() > 1:
            following = await self._step(turn_id, task)
            # Without events another worker has claimed the turn.
            change = following if following.events else replace(change, ready=None)
        await broker.enqueue_turn_soon(change.ready)
        return change

    async def _step(self, turn_id: uuid.UUID, task: str) -> Change:
        change = Change(ready=turn_id)
        if not self._is_draining:
            step = runner.advance(turn_id, worker=self.name, writer=self.writer, leases=self.leases, task=task)
            self._advancing.add(turn_id)
            try:
                change = await step
            finally:
                self._advancing.discard(turn_id)
        if self._is_draining and change.ready:
            self.turns_to_enqueue.append(change.ready)
            return replace(change, ready=None)
        return change

    def drain(self) -> None:
        """Claim no more turns, because the process is to end. Release those that still run after the grace period.

        A second call releases them at once.
        """
        self.loop.call_soon_threadsafe(self._release_all if self._is_draining else self._begin_drain)
        self._is_draining = True

    def _begin_drain(self) -> None:
        self._grace_ends_at = time.monotonic() + settings.CODELAB_WORKER_GRACE_SECONDS
        self._lookout.cancel()
        logger.info("worker_draining", running_turns=len(self.leases), seconds=settings.CODELAB_WORKER_GRACE_SECONDS)
        self.loop.call_later(settings.CODELAB_WORKER_GRACE_SECONDS, self._release_all)
        self._handing_on = self.loop.create_task(self._hand_on())

    def _release_all(self) -> None:
        self._grace_ends_at = min(self._grace_ends_at, time.monotonic())
        for lease in self.leases.values():
            lease.cancel()
        # A claim that was under way comes later.
        self.loop.call_later(HAND_ON_INTERVAL_SECONDS, self._release_all)

    async def _hand_on(self) -> None:
        """Send tasks for turns whose next step is for another worker."""
        await asyncio.sleep(CONSUMER_STOP_SECONDS)
        while True:
            while self.turns_to_enqueue:
                await broker.enqueue_turn_soon(self.turns_to_enqueue.pop())
            await asyncio.sleep(HAND_ON_INTERVAL_SECONDS)

    def wait_drained(self) -> None:
        """Wait until the turns that run without a task have ended or are released. Celery waits for its own tasks."""
        asyncio.run_coroutine_threadsafe(self._wait_drained(), self.loop).result()

    async def _wait_drained(self) -> None:
        while self._recoveries and time.monotonic() < self._grace_ends_at + RELEASE_TIMEOUT_SECONDS:
            await asyncio.wait(self._recoveries.values(), timeout=HAND_ON_INTERVAL_SECONDS)
        if self._handing_on:
            self._handing_on.cancel()
        await calls.close()

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
        self._watchdog = Watchdog(self.loop)
        self._heartbeat = Heartbeat(
            self.name, leases=lambda: list(self.leases), abandon=self._abandon, post=self.loop.call_soon_threadsafe
        )
        lookout = Lookout(self.name, capacity=self._capacity, take=self._take)
        self._lookout = self.loop.create_task(_keep_running(lookout.run))
        # The heartbeat finds stopped turns whose message was lost.
        self._listener = self.loop.create_task(_keep_running(partial(listen, WORKERS, TurnStopped, self._stop)))
        self._ready.set()
        await self.writer.run()

    def _abandon(self, attempt: Attempt) -> None:
        if lease := self.leases.get(attempt):
            lease.abandon()

    def _stop(self, message: TurnStopped | None) -> None:
        """Abandon a turn that its user has stopped."""
        if message is None:
            return
        stopped = [attempt for attempt in self.leases if attempt[0] == message.turn_id]
        for attempt in stopped:
            logger.info("turn_stopped", turn_id=str(attempt[0]), attempt=attempt[1])
            self._abandon(attempt)
        if not stopped and message.turn_id in self._advancing:
            # It is claimed, and its prompt is read: its model would be asked all the same.
            self.loop.call_later(CLAIM_PAUSE_SECONDS, self._stop, message)

    def _capacity(self) -> int:
        """Return how many more turns may run here."""
        running = {turn_id for turn_id, _ in self.leases} | set(self._recoveries)
        return 0 if self._is_draining else max(self._max_turns - len(running), 0)

    def _take(self, change: Change) -> None:
        """Publish the events of a recovery, and run the turn that is ready here, or hand it on."""
        self.writer.publish(change.events)
        turn_id = change.ready
        if turn_id is None or turn_id in self._recoveries:
            # While its session is locked, a turn cannot be claimed and each search finds it again.
            return
        work = self._run_without_task if self._capacity() else broker.enqueue_turn_soon
        self._recoveries[turn_id] = task = self.loop.create_task(work(turn_id))
        task.add_done_callback(lambda _: self._recoveries.pop(turn_id))

    async def _run_without_task(self, turn_id: uuid.UUID) -> None:
        logger.info("turn_taken_without_task", turn_id=str(turn_id))
        try:
            await self.run(turn_id)
        except DatabaseError as error:
            # The turn is still queued, or its lease will expire: a worker finds it again.
            logger.warning("turn_not_run", turn_id=str(turn_id), error=type(error).__name__)

    def end(self) -> None:
        """Tell other workers that this one is gone."""
        self._heartbeat.stop()


#: Names that `codelab worker` gives to Celery.
_UNIQUE_NAME = re.compile(r"worker-[0-9]+-[0-9a-f]{6}@")
_taken_names: list[str] = []


def take_name(node: str) -> None:
    """Have the worker of this process named like Celery's node, so that Flower and the admin name the same worker.

    Celery's own names, and those of operators, come again after a restart: they are not taken.
    """
    if _UNIQUE_NAME.match(node):
        _taken_names.append(node)


def new_name() -> str:
    """Return a name that no other process has, nor had.

    Host and process id come again: in containers each process may have the same id, also after a restart. Its
    successor would then hide that a worker died, and end its own leases for a namesake on another machine.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


async def _keep_running(work: Callable[[], Awaitable[None]]) -> None:
    """Run a task of the process, and start it again when it raises: nothing that one turn does may end a process."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("task_restarted")
        await asyncio.sleep(RESTART_DELAY_SECONDS)


@cache
def this_worker() -> WorkerProcess:
    """Return the worker of this process; the first call creates it."""
    return WorkerProcess()
