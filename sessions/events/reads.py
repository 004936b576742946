"""Reads of the event log that clients cause. Nothing here writes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db.models import Exists, OuterRef

from sessions.events import log
from sessions.events.log import LoggedEvent, Page
from sessions.models import (
    OPEN_STATUSES,
    EventKind,
    Session,
    Turn,
)

#: Events that are replayed at most; whoever has missed more starts again from a snapshot.
MAX_REPLAYED_EVENTS = 5000


def read_new(session_id: uuid.UUID, after: int) -> Page:
    """Return the next events of a session; of one that is gone, that it was deleted, because its log is gone, too."""
    page = log.since(session_id, after)
    if not page and not Session.objects.filter(pk=session_id).exists():
        page.append(LoggedEvent(session_id, after + 1, EventKind.SESSION_DELETED, {}))
    return page


def can_replay(session_id: uuid.UUID, after: int) -> bool:
    """Say whether what lies behind a number can be told event by event: it is ours, and not too long ago."""
    last = Session.objects.values_list("last_number", flat=True).get(pk=session_id)
    return 0 <= last - after <= MAX_REPLAYED_EVENTS


def latest_numbers(session_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, bool]]:
    """Return the number of the newest event of each session, and whether it has an open turn."""
    is_open = Exists(Turn.objects.filter(session=OuterRef("pk"), status__in=OPEN_STATUSES))
    rows = Session.objects.filter(pk__in=session_ids).values_list("pk", "last_number", is_open)
    return {pk: (last, active) for pk, last, active in rows}
