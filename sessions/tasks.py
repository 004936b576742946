"""The Celery tasks. A task carries an id and nothing else; it is a hint that may be lost, repeated or late."""

from __future__ import annotations

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
from sessions.events import compaction
from sessions.models import Session
from sessions.turns import images, recovery
from sessions.turns.sessions import delete_session, expired_sessions
from sessions.worker.process import this_worker

logger = structlog.get_logger(__name__)

#: Seconds that one run of `tidy` takes at most; the next one goes on.
TIDY_TIMEOUT_SECONDS = 20.0


@shared_task(name="sessions.tasks.advance_turn")
def advance_turn(turn_id: str) -> None:
    """Run a turn until it ends or waits; does nothing when it is somebody else's or not due."""
    try:
        ready = this_worker().run(uuid.UUID(turn_id))
    except DatabaseError as error:
        # It is still queued, or its lease will run out: a worker looks again.
        logger.warning("turn_not_run", turn_id=turn_id, error=type(error).__name__)
        return
    if ready:
        broker.enqueue_turn(ready)


@shared_task(name="sessions.tasks.tidy")
def tidy() -> None:
    """Fold the logs of turns that have ended; forget gone workers, images that no message shows, and old sessions.

    Nothing waits for this.
    """
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
def _load(**_: Any) -> None:
    """Load the model's library before the first turn is taken, not while somebody waits for it."""
    calls.preload(settings.CODELAB_MODEL, *(model for role in ROLES.values() for model in role.models))


@worker_ready.connect
def _start(**_: Any) -> None:
    logger.info("worker_started", worker=this_worker().name, model=settings.CODELAB_MODEL)


@worker_shutting_down.connect
def _park(**_: Any) -> None:
    this_worker().drain()


@worker_shutdown.connect
def _hand_over(**_: Any) -> None:
    """Tell other workers of the turns given back; earlier this worker might take its own hints."""
    this_worker().wait_drained()
    for turn_id in this_worker().turns_to_enqueue:
        broker.enqueue_turn(turn_id)
