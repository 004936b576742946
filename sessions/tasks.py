"""The Celery tasks. No work may depend on one: it carries an id at most, and may be lost, repeated or late."""

import time
import uuid
from contextlib import suppress
from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_init, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import Error as DatabaseError

from agents.roles import ROLES
from llm import calls
from sessions import broker
from sessions.database import describe
from sessions.events import compaction
from sessions.models import Session
from sessions.turns import images, recovery
from sessions.turns.sessions import delete_session, expired_sessions
from sessions.worker.process import this_worker

logger = structlog.get_logger(__name__)

#: The next run of `tidy` continues.
TIDY_TIMEOUT_SECONDS = 20.0


@shared_task(name="sessions.tasks.advance_turn")
def advance_turn(turn_id: str) -> None:
    """Run a turn's next step. Does nothing when another worker has the turn or it is not due."""
    try:
        ready = this_worker().run(uuid.UUID(turn_id))
    except DatabaseError as error:
        # The turn is still queued, or its lease will expire: a worker finds it again.
        logger.warning("turn_not_run", turn_id=turn_id, **describe(error))
        return
    if ready:
        broker.enqueue_turn(ready)


@shared_task(name="sessions.tasks.tidy")
def tidy() -> None:
    """Compact the logs of ended turns; delete gone workers, unused images and expired sessions."""
    deadline = time.monotonic() + TIDY_TIMEOUT_SECONDS
    try:
        recovery.delete_gone_workers()
        images.delete_unused()
        for session_id in expired_sessions(limit=100):
            with suppress(Session.DoesNotExist):
                delete_session(session_id)
        while (turns := compaction.compactable_turns(limit=50)) and time.monotonic() < deadline:
            saved = sum(compaction.compact(turn_id) for turn_id in turns)
            logger.info("turns_folded", turns=len(turns), rows_saved=saved)
    except DatabaseError as error:
        logger.warning("not_tidied", error=type(error).__name__)


@worker_init.connect
def _preload_models(**_: Any) -> None:
    # The libraries take seconds to load, and would delay the first turn.
    calls.preload(settings.CODELAB_MODEL, *(model for role in ROLES.values() for model in role.models))


@worker_ready.connect
def _log_start(**_: Any) -> None:
    logger.info("worker_started", worker=this_worker().name, model=settings.CODELAB_MODEL)


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    this_worker().drain()


@worker_shutdown.connect
def _enqueue_released_turns(**_: Any) -> None:
    # Not earlier: this worker would receive the tasks itself.
    this_worker().wait_drained()
    for turn_id in this_worker().turns_to_enqueue:
        broker.enqueue_turn(turn_id)
