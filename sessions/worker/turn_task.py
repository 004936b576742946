"""How Celery reports the task of a turn that has failed: as FAILURE with a code and a sentence, without a traceback.

The turn's own state is in PostgreSQL, and its message is acknowledged when the task begins. Nothing here may change
what a task does, or raise the failure of a turn anywhere but to Celery.
"""

from typing import TYPE_CHECKING, Any

from celery import Task
from celery.worker.request import Request

from sessions.models import EventKind
from sessions.results import Change, TurnFailed

if TYPE_CHECKING:
    CeleryTask = Task[Any, Any]
else:
    CeleryTask = Task

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


class TurnTask(CeleryTask):
    """The task of a turn. That a turn fails is no fault of its task, so nothing logs it as one."""

    Request = "sessions.worker.turn_task:TurnRequest"
    throws = (TurnFailed,)
