"""The event log: the numbered facts of a session, the only thing clients are ever told.

An event is committed, with its number, before anybody is shown it. Numbers have no gaps and grow by one within a
session, because they are taken under the lock on the session's row. Whoever writes events holds that lock, and takes
it before any other lock, so that two writers can never wait for each other.

Its statements are SQL and not the ORM's: every batch of tokens runs them, and to put such a statement together takes
the ORM longer than PostgreSQL needs for it.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from sessions.database import rows
from sessions.models import Event, EventKind, Session, new_id

#: Events, and bytes of their payloads, read at a time; a client that was away for long gets them in several pieces.
MAX_PAGE_EVENTS, MAX_PAGE_BYTES = 500, 256 * 1024
#: How long whoever has locked a session may do nothing.
IDLE_LOCK_TIMEOUT = "700ms"
#: Goes from event to event until the page is full, so that it reads no more than it returns. Rows cannot be limited by
#: their bytes in another way without unpacking all 500 first, and they may be 400 KB each.
_PAGE = """
    WITH RECURSIVE page(number, kind, payload, first, bytes, count) AS (
        SELECT %s::bigint, NULL::varchar, NULL::text, NULL::bigint, 0, 0
        UNION ALL
        SELECT next.number, next.kind, next.payload, next.first, page.bytes + octet_length(next.payload), page.count + 1
        FROM page CROSS JOIN LATERAL (
            SELECT number, kind, payload::text, first FROM agent_sessions_event
            WHERE session_id = %s AND number > page.number ORDER BY number LIMIT 1
        ) AS next
        WHERE page.bytes < %s AND page.count < %s
    )
    SELECT number, kind, payload, first, bytes FROM page WHERE count > 0 ORDER BY count
"""

#: Locks a session. With the lock comes the promise to be quick: a process that freezes while it has one loses it, and
#: its transaction, before anybody who wants to stop the turn has waited for a second. Said in the statement that locks,
#: because one more would be one more round trip for each batch of tokens.
_QUICK = "set_config('idle_in_transaction_session_timeout', %s, true) AS quick"
_LOCK = f"SELECT *, {_QUICK} FROM agent_sessions_session WHERE id = %s FOR NO KEY UPDATE"
_LOCK_ALL = f"""
    SELECT id, last_number, {_QUICK} FROM agent_sessions_session WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""
_HELD = "SELECT id, attempt FROM agent_sessions_turn WHERE id = ANY(%s) AND status = 'running'"
#: Inserts events of many sessions, and moves the newest number of each on. Pieces of text do not make a session newer:
#: that would change an index with every batch.
_WRITE = """
    WITH counted AS (
        UPDATE agent_sessions_session AS session
        SET last_number = last_number + added.count,
            updated_at = coalesce(%s, updated_at)
        FROM unnest(%s::uuid[], %s::bigint[]) AS added(id, count) WHERE session.id = added.id
    )
    INSERT INTO agent_sessions_event (id, session_id, turn_id, number, kind, payload, attempt, created_at)
    SELECT new.*, clock_timestamp() FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::varchar[], %s::jsonb[], %s::integer[]
    ) AS new
"""

#: An attempt at a turn: the turn's id and the number of the attempt. One process can have two of one turn for a while.
type Attempt = tuple[uuid.UUID, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that has no number yet. Its id makes a repeated write recognisable."""

    kind: EventKind
    payload: dict[str, Any]
    turn_id: uuid.UUID | None = None
    attempt: int = 0
    id: uuid.UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it was committed."""

    session_id: uuid.UUID
    number: int
    kind: str
    payload: dict[str, Any]
    #: Where one event stands for several numbers (sessions.events.compaction), the first of them.
    first: int | None = None


class Page(list[LoggedEvent]):
    """Some events of a session, in order; `more` when it may have others behind them."""

    more = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Events of one attempt at one turn, to be written only while that attempt still holds the turn."""

    session_id: uuid.UUID
    turn_id: uuid.UUID
    attempt: int
    events: tuple[NewEvent, ...]


def lock(session_id: uuid.UUID) -> Session:
    """Return the session with its row locked until the end of the transaction.

    Raises Session.DoesNotExist when it was deleted, which its owner may do at any time.
    """
    for session in Session.objects.raw(_LOCK, [IDLE_LOCK_TIMEOUT, session_id]):
        return session
    raise Session.DoesNotExist


def lock_if_free(session_id: uuid.UUID) -> Session | None:
    """Return the session, locked, or None when somebody else has locked it, or it is gone."""
    return next(iter(Session.objects.raw(f"{_LOCK} SKIP LOCKED", [IDLE_LOCK_TIMEOUT, session_id])), None)


def append(session: Session, events: Sequence[NewEvent]) -> list[LoggedEvent]:
    """Write events to a session that the caller has locked; the caller commits, then publishes what is returned."""
    numbered = enumerate(events, session.last_number + 1)
    logged = [LoggedEvent(session.pk, number, new.kind, new.payload) for number, new in numbered]
    session.last_number += len(events)
    session.updated_at = timezone.now()
    _write(list(zip(logged, events, strict=True)), newer=session.updated_at)
    return logged


def append_all(additions: Sequence[Addition], *, again: bool = False) -> tuple[list[LoggedEvent], set[Attempt]]:
    """Write events of many turns in one transaction; return what is committed and the attempts that were refused.

    An attempt is refused when it no longer holds its turn. After an error the same events may be written `again`: what
    an uncertain COMMIT had written is then found by id and returned as it is.
    """
    with transaction.atomic():
        locked = rows(_LOCK_ALL, IDLE_LOCK_TIMEOUT, list({a.session_id for a in additions}))
        last = {session_id: number for session_id, number, _ in locked}
        # After the locks, in a statement of its own: it must see what a takeover has committed in the meantime.
        held = set(rows(_HELD, [a.turn_id for a in additions]))
        written = _already_written(additions) if again else {}
        logged: list[LoggedEvent] = []
        refused: set[Attempt] = set()
        fresh: list[tuple[LoggedEvent, NewEvent]] = []
        for addition in additions:
            if addition.events[0].id in written:
                logged.extend(written[event.id] for event in addition.events)
                continue
            attempt = (addition.turn_id, addition.attempt)
            if attempt not in held:
                refused.add(attempt)
                continue
            for event in addition.events:
                last[addition.session_id] += 1
                number = last[addition.session_id]
                fresh.append((LoggedEvent(addition.session_id, number, event.kind, event.payload), event))
        _write(fresh)
    return logged + [event for event, _ in fresh], refused


def since(session_id: uuid.UUID, after: int, limit: int = MAX_PAGE_EVENTS) -> Page:
    """Return the events with numbers above `after`, in order: `limit` at most, fewer when they are large.

    Exactly those: of an event that stands for several numbers only the part above `after` is returned.
    """
    found = rows(_PAGE, after, session_id, MAX_PAGE_BYTES, limit)
    page = Page(
        _part(LoggedEvent(session_id, number, kind, json.loads(payload), first), after)
        for number, kind, payload, first, _ in found
    )
    page.more = bool(found) and (len(found) >= limit or found[-1][-1] >= MAX_PAGE_BYTES)
    return page


def _part(event: LoggedEvent, after: int) -> LoggedEvent:
    """Return the event, or of a folded one what it says with the numbers above `after`."""
    if event.first is None:
        return event
    payload = {**event.payload}
    ends, first = payload.pop("ends"), event.first
    if after >= first:
        payload["text"] = payload["text"][ends[after - first] :]
        first = after + 1
    return replace(event, payload=payload, first=first if first < event.number else None)


def _already_written(additions: Sequence[Addition]) -> dict[uuid.UUID, LoggedEvent]:
    ids = [event.id for addition in additions for event in addition.events]
    rows = Event.objects.filter(pk__in=ids).values_list("pk", "session_id", "number", "kind", "payload")
    return {pk: LoggedEvent(*rest) for pk, *rest in rows}


def _write(events: Sequence[tuple[LoggedEvent, NewEvent]], *, newer: datetime | None = None) -> None:
    if not events:
        return
    counts = Counter(logged.session_id for logged, _ in events)
    columns = zip(
        *(
            (new.id, logged.session_id, new.turn_id, logged.number, str(new.kind), json.dumps(new.payload), new.attempt)
            for logged, new in events
        ),
        strict=True,
    )
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, [newer, list(counts), list(counts.values()), *map(list, columns)])
