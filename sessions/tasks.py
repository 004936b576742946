"""The Celery tasks. A task carries an id and nothing else; it is a hint that may be lost, repeated or late."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as DatabaseError

from llm import catalog
from sessions import recovery
from sessions.threads import in_broker_thread

logger = structlog.get_logger(__name__)


@shared_task(name="sessions.tasks.advance_turn")
def advance_turn(turn_id: str) -> None:
    """Run a turn until it ends or waits; does nothing when it is somebody else's or not due."""
    from sessions.worker import this_worker

    ready = this_worker().run(uuid.UUID(turn_id))
    if ready:
        send(ready)


@shared_task(name="sessions.tasks.sweep")
def sweep() -> None:
    """Bring overdue turns on: what a lost task, a dead worker or a silent client has left behind."""
    from sessions.worker import this_worker

    try:
        for turn_id in recovery.overdue():
            change = recovery.recover(turn_id)
            this_worker().publish(change.events)
            if change.ready:
                logger.info("turn_recovered", turn_id=str(turn_id), ready=str(change.ready))
                send(change.ready)
        recovery.forget_workers()
    except DatabaseError as error:
        # The next sweep is seconds away.
        logger.warning("sweep_failed", error=type(error).__name__)


def send(turn_id: uuid.UUID) -> None:
    """Tell the workers of a turn. Never raises: where the broker is away, the sweeper finds the turn."""
    try:
        advance_turn.apply_async((str(turn_id),), retry=False)
    except Exception as error:
        logger.warning("task_not_sent", turn_id=str(turn_id), error=type(error).__name__)


async def send_soon(turn_id: uuid.UUID | None) -> None:
    """Tell the workers of a turn, if any, without holding up the event loop."""
    if turn_id is not None:
        await in_broker_thread(send, turn_id)


@worker_init.connect
def _load(**_: Any) -> None:
    """Load the model's library before the first turn is taken, not while somebody waits for it."""
    catalog.preload(settings.CODELAB_MODEL)


@worker_ready.connect
def _start(**_: Any) -> None:
    from sessions.worker import this_worker

    logger.info("worker_started", worker=this_worker().name, model=settings.CODELAB_MODEL)


@worker_shutting_down.connect
def _park(**_: Any) -> None:
    from sessions.worker import this_worker

    this_worker().park()


@worker_shutdown.connect
def _hand_over(**_: Any) -> None:
    """Tell other workers of the turns given back; earlier this worker might take its own hints."""
    from sessions.worker import this_worker

    for turn_id in this_worker().handed_over:
        send(turn_id)
