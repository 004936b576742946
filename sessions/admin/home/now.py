"""What is so at this moment: approvals that wait, the queue, and the workers. Few rows, which indexes find."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q
from django.db.models.functions import Now

from sessions.metrics import longest_wait
from sessions.models import OPEN_STATUSES, Approval, ApprovalStatus, Turn, TurnStatus, Worker

#: Rows that each table of the home shows, and rows that are counted.
MAX_SHOWN, MAX_COUNTED = 10, 10_000
#: Workers that gave no sign for longer are gone on purpose.
GONE_AFTER = timedelta(hours=1)
#: What operators should look at: how long a turn waits for a worker, and a person's approval for an answer.
LONG_QUEUE, LONG_APPROVAL = timedelta(seconds=30), timedelta(hours=1)
#: Failures of the last hour, as a part of the turns that ended, that are more than bad luck, and at least how many.
MANY_FAILURES, MIN_FAILURES = 0.2, 3


@dataclass(frozen=True, slots=True)
class Queue:
    """Open turns by status, and how long the one that waits longest has waited for a worker."""

    counts: dict[str, int]
    waited: timedelta
    put_off: int
    turns: list[Turn]


def queue() -> Queue:
    """Return the open turns, those that run first."""
    found = {
        row["status"]: row
        for row in Turn.objects.filter(status__in=OPEN_STATUSES)
        .order_by()
        .values("status")
        .annotate(count=Count("pk"), put_off=Count("pk", Q(retry_at__gt=Now())))
    }
    counts = {str(status): found[status]["count"] if status in found else 0 for status in OPEN_STATUSES}
    queued: Any = found.get(TurnStatus.QUEUED)
    if not queued:
        return Queue(counts, timedelta(), 0, _open_turns())
    return Queue(counts, longest_wait(), queued["put_off"], _open_turns())


def _open_turns() -> list[Turn]:
    """Return the turns that run, then those that are queued: the oldest of each."""
    # A plan for all statuses together would sort every open turn.
    turns: list[Turn] = []
    for status in (TurnStatus.RUNNING, TurnStatus.QUEUED):
        if left := MAX_SHOWN - len(turns):
            rows = Turn.objects.filter(status=status).select_related("session__owner")
            turns += rows.order_by("queued_at")[:left]
    return turns


def waiting_approvals() -> tuple[list[Approval], int]:
    """Return the approvals that wait, those that expire first, and how many there are."""
    pending = Approval.objects.filter(status=ApprovalStatus.PENDING)
    shown = pending.select_related("call__turn__session__owner").order_by("expires_at")[: MAX_SHOWN + 1]
    found = list(shown)
    count = len(found) if len(found) <= MAX_SHOWN else pending.values("pk")[:MAX_COUNTED].count()
    return found[:MAX_SHOWN], count


def workers() -> list[Worker]:
    """Return the workers that are alive, or were within GONE_AFTER; each with its silence."""
    seen = Worker.objects.filter(seen_at__gt=Now() - GONE_AFTER)
    return list(seen.annotate(silence=Now() - F("seen_at")).order_by("-seen_at")[:50])


def alive(worker: Any) -> bool:
    """Return whether a worker of `workers` has given a sign lately."""
    return bool(worker.silence < Worker.HEARTBEAT_TIMEOUT)
