"""How Celery reports the task of a turn that has failed: as FAILURE with a code and a sentence, without a traceback.

The turn's own state is in PostgreSQL, and its message is acknowledged when the task begins. Nothing here may change
what a task does, or raise the failure of a turn anywhere but to Celery.
"""

import uuid
from typing import Any

import structlog
from celery.worker.request import Request
from django.db import Error as DatabaseError

from sessions.database import describe
from sessions.models import EventKind
from sessions.results import Change, TurnFailed
from sessions.worker import replay
from sessions.worker.pool import LoopTask
from sessions.worker.process import this_worker

logger = structlog.get_logger(__name__)

#: What a step led to, by the event that ends it.
OUTCOMES = {
    EventKind.TURN_COMPLETED: "completed",
    EventKind.TURN_WAITING: "waits for a client or a user",
    EventKind.TURN_QUEUED: "goes on with another step",
    EventKind.RETRY_SCHEDULED: "waits for the provider",
}
NOTHING_TO_DO = "nothing to do: another worker has the turn, it was stopped, or it is not due"


def outcome_of(change: Change, turn_id: str) -> str:
    """Return what a step led to, for Celery's pages. Raises TurnFailed when the turn has ended as failed."""
    for event in reversed(change.events):
        if event.payload.get("turn_id") != turn_id:
            continue
        if event.kind == EventKind.TURN_FAILED:
            raise TurnFailed(event.payload["error_code"], event.payload["error"])
        if event.kind in OUTCOMES:
            return OUTCOMES[EventKind(event.kind)]
    return NOTHING_TO_DO


class TurnRequest(Request):
    """The request of a task. Of a failed turn it reports what failed, and not where in our code."""

    _failure: TurnFailed | None = None

    def on_failure(self, exc_info: Any, *args: Any, **options: Any) -> Any:
        """Remember why the turn failed before Celery reports the task."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        self._failure = error if isinstance(error, TurnFailed) else None
        return super().on_failure(exc_info, *args, **options)

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 (Celery's name)
        """Send an event to Flower."""
        if type == "task-failed" and self._failure:
            fields = {"exception": self._failure.code, "result": str(self._failure)}
        super().send_event(type, **fields)


class TurnTask(LoopTask):
    """The task of a turn. That a turn fails is no fault of its task, so nothing logs it as one."""

    Request = "sessions.worker.turn_task:TurnRequest"
    throws = (TurnFailed,)

    async def work(self, task_id: str, *args: Any) -> Change:
        """Run the turn, and return what its last step led to."""
        (turn_id,) = args
        try:
            return await this_worker().run(uuid.UUID(turn_id), task_id)
        except DatabaseError as error:
            # The turn is still queued, or its lease will expire: a worker finds it again.
            logger.warning("turn_not_run", turn_id=turn_id, **describe(error))
            return Change()


class ReplayTask(LoopTask):
    """The task of a replay."""

    async def work(self, task_id: str, *args: Any) -> None:
        """Send the prompt, and wait for the answer."""
        (replay_id,) = args
        await replay.run(uuid.UUID(replay_id), worker=this_worker().name)
