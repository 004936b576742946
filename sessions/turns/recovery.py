"""Finds what was left behind: turns that no task brought to a worker, leases that ran out, tools that never answered.

Every worker looks by itself, every second (`sessions.worker.process`), so that neither Redis nor beat is needed for a
turn to go on. Several look at once: each turn is looked at again under its session's lock.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from sessions import metrics
from sessions.billing import ledger
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import OPEN_STATUSES, EventKind, ModelCallOutcome, Turn, TurnStatus, Worker
from sessions.protocol import ErrorCode
from sessions.results import Change
from sessions.turns.transcript import store_unfinished
from sessions.turns.transitions import end_as_failed, next_ready_turn, transition, turn_event

#: Leases in a row that may run out before the turn is given up.
MAX_LOST_LEASES = 3
#: How long a queued turn waits for the task that announces it, before a worker takes it without.
TASK_TIMEOUT = timedelta(seconds=2)
#: How long a turn waits for the client's tools.
TOOL_TIMEOUT = timedelta(hours=24)


def expired_turns() -> list[uuid.UUID]:
    """Return the turns that need `recover`: their lease ran out, or their tools never answered."""
    now = timezone.now()
    turns = Turn.objects.filter(status=TurnStatus.RUNNING, lease_expires_at__lt=now) | Turn.objects.filter(
        status=TurnStatus.WAITING, waiting_since__lt=now - TOOL_TIMEOUT
    )
    return list(turns.values_list("pk", flat=True)[:1000])


def unclaimed_turns(limit: int) -> list[uuid.UUID]:
    """Return queued turns that are next in their session and that nobody has taken, those that wait longest first."""
    earlier = Turn.objects.filter(
        session=OuterRef("session"), status__in=OPEN_STATUSES, position__lt=OuterRef("position")
    )
    turns = Turn.objects.filter(status=TurnStatus.QUEUED, queued_at__lt=timezone.now() - TASK_TIMEOUT)
    return list(turns.exclude(Exists(earlier)).order_by("queued_at").values_list("pk", flat=True)[:limit])


def recover(turn_id: uuid.UUID) -> Change:
    """Bring a lapsed turn on: queue it again, or end it with a reason.

    Does nothing when it no longer needs it, and nothing when its session is locked: whoever has frozen there must not
    hold up all other turns, and the next look is a second away.
    """
    now = timezone.now()
    ended: str | None = None
    session_id = Turn.objects.filter(pk=turn_id).values_list("session_id", flat=True).first()
    if session_id is None:
        return Change()
    with transaction.atomic():
        session = log.lock_if_free(session_id)
        if session is None:
            return Change()
        turn = Turn.objects.get(pk=turn_id)
        events: list[LoggedEvent] = []
        ready: uuid.UUID | None = None
        match turn.status:
            case TurnStatus.RUNNING if turn.lease_expires_at and turn.lease_expires_at < now:
                ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
                if turn.lost_leases + 1 >= MAX_LOST_LEASES:
                    ended = ErrorCode.TOO_MANY_ATTEMPTS
                    text = f"The answer was begun {MAX_LOST_LEASES} times and each time its worker went away."
                    events = store_unfinished(session, turn) + end_as_failed(session, turn, ended, text)
                    ready = next_ready_turn(session)
                else:
                    transition(turn, TurnStatus.QUEUED, lost_leases=turn.lost_leases + 1)
                    payload = {"turn_id": str(turn_id)}
                    events = log.append(session, [turn_event(EventKind.TURN_QUEUED, turn_id, payload)])
                    ready = turn_id
            case TurnStatus.WAITING if turn.waiting_since and turn.waiting_since < now - TOOL_TIMEOUT:
                ended = ErrorCode.TOOL_TIMED_OUT
                events = end_as_failed(session, turn, ended, "The client did not send the result of a tool in time.")
                ready = next_ready_turn(session)
    if ended:
        metrics.turn_ended(turn, TurnStatus.FAILED, ended)
    return Change(events=events, ready=ready)


def delete_gone_workers() -> None:
    """Remove workers that have not been seen for a day; each restart makes a new one."""
    Worker.objects.filter(seen_at__lt=timezone.now() - timedelta(days=1)).delete()
