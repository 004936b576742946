"""Reads of the event log for feeds and clients. This module never writes."""

import uuid
from collections.abc import Iterable, Sequence

from django.db.models import Exists, F, OuterRef, QuerySet

from sessions.database import rows
from sessions.events import log
from sessions.events.log import LoggedEvent, Page
from sessions.models import OPEN_STATUSES, Event, EventKind, Session, Turn
from sessions.statements import prepared

#: A client that has missed more events starts again from a snapshot.
MAX_REPLAYED_EVENTS = 5000
#: Which of these sessions exist, by owner and name.
_EXISTING = """
    SELECT owner_id, key FROM agent_sessions_session JOIN unnest(%s::bigint[], %s::varchar[]) AS name(owner_id, key)
    USING (owner_id, key) WHERE deleted_at IS NULL
"""

#: A session that is not deleted.
_EXISTS = "SELECT FROM agent_sessions_session WHERE id = %s AND deleted_at IS NULL"


def read_new(session_id: uuid.UUID, after: int) -> Page:
    """Return the next events of a session. A deleted one has no log any more; it yields the event of its deletion."""
    page = log.since(session_id, after)
    if not page and not prepared(_EXISTS, session_id):
        page.append(LoggedEvent(session_id, after + 1, EventKind.SESSION_DELETED, {}))
    return page


def can_replay(session_id: uuid.UUID, after: int) -> bool:
    """Return whether the events after a number can be replayed: the number exists and is not too old."""
    last = Session.objects.values_list("last_number", flat=True).get(pk=session_id)
    return 0 <= last - after <= MAX_REPLAYED_EVENTS


def latest_numbers(session_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, tuple[int, bool]]:
    """Return the number of the newest event of each session, and whether it has an open turn."""
    is_open = Exists(Turn.objects.filter(session=OuterRef("pk"), status__in=OPEN_STATUSES))
    rows = Session.objects.filter(pk__in=session_ids).values_list("pk", "last_number", is_open)
    return {pk: (last, has_open_turn) for pk, last, has_open_turn in rows}


def names_of(session_ids: Iterable[uuid.UUID]) -> list[tuple[int, str]]:
    """Return the owners and names of sessions."""
    return list(Session.objects.filter(pk__in=session_ids).values_list("owner_id", "key"))


def existing_names(names: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return those owners and names that sessions have."""
    return [(owner_id, key) for owner_id, key in rows(_EXISTING, [one[0] for one in names], [one[1] for one in names])]


def agent_switches(events: QuerySet[Event]) -> QuerySet[Event]:
    """Return the changes of the agent among events. A user may also have chosen the agent that answered already."""
    switches = events.filter(kind=EventKind.AGENT_SWITCHED)
    return switches.exclude(payload__from_agent=F("payload__to_agent"))
