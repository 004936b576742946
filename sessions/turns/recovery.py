"""Recovery of turns: those that no worker claimed, whose lease expired, or whose tools sent no result in time.

Every worker runs it every second (`sessions.worker.process`), so turns continue without Redis or beat. Workers run it
at the same time, so each turn is checked again under its session's lock.
"""

import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from sessions import metrics
from sessions.billing import ledger
from sessions.events import log
from sessions.models import OPEN_STATUSES, ModelCallOutcome, Turn, TurnStatus
from sessions.protocol.codes import ErrorCode
from sessions.results import Change
from sessions.turns.transcript import store_unfinished
from sessions.turns.transitions import end_as_failed, next_ready_turn, requeue

#: The turn fails when this many leases in a row have expired.
MAX_LOST_LEASES = 3
#: How long a queued turn waits for its task before a worker claims it without one.
TASK_TIMEOUT = timedelta(seconds=2)
#: How long a turn waits for results of the client's tools.
TOOL_TIMEOUT = timedelta(hours=24)


def expired_turns() -> list[uuid.UUID]:
    """Return turns for `recover`: their lease has expired, or their tools sent no result in time."""
    now = timezone.now()
    turns = Turn.objects.filter(status=TurnStatus.RUNNING, lease_expires_at__lt=now) | Turn.objects.filter(
        status=TurnStatus.WAITING, waiting_since__lt=now - TOOL_TIMEOUT
    )
    return list(turns.values_list("pk", flat=True)[:1000])


def unclaimed_turns(limit: int) -> list[uuid.UUID]:
    """Return unclaimed turns that are next in their session, the one that waits longest first."""
    earlier = Turn.objects.filter(
        session=OuterRef("session"), status__in=OPEN_STATUSES, position__lt=OuterRef("position")
    )
    turns = Turn.objects.filter(status=TurnStatus.QUEUED, queued_at__lt=timezone.now() - TASK_TIMEOUT)
    return list(turns.exclude(Exists(earlier)).order_by("queued_at").values_list("pk", flat=True)[:limit])


def recover(turn_id: uuid.UUID) -> Change:
    """Queue an expired turn again, or end it as failed.

    Does nothing when the turn is no longer expired or its session is locked: a frozen process that holds the lock must
    not delay all other turns, and the next run is a second away.
    """
    now = timezone.now()
    error_code: ErrorCode | None = None
    session_id = Turn.objects.filter(pk=turn_id).values_list("session_id", flat=True).first()
    if session_id is None:
        return Change()
    with transaction.atomic():
        session = log.lock_if_free(session_id)
        if session is None:
            return Change()
        turn = Turn.objects.get(pk=turn_id)
        match turn.status:
            case TurnStatus.RUNNING if turn.lease_expires_at and turn.lease_expires_at < now:
                ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
                if turn.lost_leases + 1 >= MAX_LOST_LEASES:
                    error_code = ErrorCode.TOO_MANY_ATTEMPTS
                    text = f"The answer was started {MAX_LOST_LEASES} times, and its worker was lost each time."
                    events = store_unfinished(session, turn) + end_as_failed(session, turn, error_code, text)
                else:
                    events = requeue(session, turn, lost_leases=turn.lost_leases + 1)
            case TurnStatus.WAITING if turn.waiting_since and turn.waiting_since < now - TOOL_TIMEOUT:
                error_code = ErrorCode.TOOL_TIMED_OUT
                text = "The client did not send the result of a tool in time."
                events = end_as_failed(session, turn, error_code, text)
            case _:
                return Change()
        ready = next_ready_turn(session)
    if error_code:
        metrics.turn_ended(turn, TurnStatus.FAILED, error_code)
    return Change(events=events, ready=ready)
