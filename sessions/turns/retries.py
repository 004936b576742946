"""Turns whose model's provider asks for a wait, because of a rate limit or an overload.

Such a turn waits as a row: it is queued with a time before which no worker takes it, and holds no worker, thread or
connection. The workers find it when its time has come (`sessions.turns.recovery.unclaimed_turns`), and a new attempt
begins the step again. All waits of a turn together are limited.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from sessions import metrics
from sessions.billing import ledger
from sessions.database import rows
from sessions.models import Event, EventKind, Session, Turn, TurnStatus
from sessions.results import Change, Claim, StepResult
from sessions.statements import atomic
from sessions.turns.transitions import lock_claim, requeue, turn_event

#: A provider that asks for no time at all is not asked again and again.
MIN_WAIT_SECONDS = 1


def may_wait(claim: Claim, seconds: float) -> bool:
    """Return whether a turn may wait that much longer.

    A caller of the OpenAI-compatible API is told at once: such clients repeat their requests themselves.
    """
    wait = max(seconds, MIN_WAIT_SECONDS)
    return not claim.is_completion and claim.retry_wait + wait <= settings.CODELAB_RATE_LIMIT_WAIT


def put_off(claim: Claim, result: StepResult, *, error_code: str, seconds: int) -> Change:
    """Queue a running turn, so that it goes on by itself after so many seconds. Raises StaleAttempt.

    `result` has the model calls of the step so far, and no text.
    """
    wait = max(seconds, MIN_WAIT_SECONDS)
    with atomic():
        session, turn = lock_claim(claim)
        ledger.record(claim, session, turn, result.calls, purpose=result.purpose, error_code=error_code)
        ((retry_at,),) = rows("SELECT statement_timestamp() + %s", timedelta(seconds=wait))
        payload = {"error_code": error_code, "retry_at": _timestamp(retry_at), "retry_after": wait}
        scheduled = turn_event(EventKind.RETRY_SCHEDULED, turn.pk, claim.attempt, **payload)
        retry_wait = turn.retry_wait + timedelta(seconds=wait)
        events = requeue(session, turn, claim.attempt, before=[scheduled], retry_at=retry_at, retry_wait=retry_wait)
    metrics.retries_scheduled.labels(error_code=error_code).inc()
    return Change(events=events)


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_due(turn: Turn) -> bool:
    """Return whether a worker may take a queued turn, by the database's clock."""
    return turn.retry_at is None or not Turn.objects.filter(pk=turn.pk, retry_at__gt=Now()).exists()


def state(session: Session, turn: Turn) -> dict[str, Any]:
    """Return what clients are told of a turn that was put off, otherwise nothing."""
    if turn.retry_at is None or turn.status != TurnStatus.QUEUED:
        return {}
    events = Event.objects.filter(session=session, number__gt=turn.position, turn=turn, kind=EventKind.RETRY_SCHEDULED)
    payload = events.order_by("-number").values_list("payload", flat=True).first() or {}
    return {name: payload[name] for name in ("error_code", "retry_at", "retry_after") if name in payload}
