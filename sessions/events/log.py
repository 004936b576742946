"""The event log: the numbered facts of a session. Clients learn of nothing else.

An event must never be published before it is committed with its number. Numbers grow by one within a session, without
gaps, because they are taken under the lock on the session's row. Each writer of events holds that lock, and takes it
before any other lock, so that two writers never wait for each other.

The statements are SQL by hand: every batch of tokens runs them, and the ORM takes longer to build one than PostgreSQL
takes to run it.
"""

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils import timezone

from sessions.database import lock_timeout
from sessions.events.stored_text import PAYLOAD, decode, encode
from sessions.models import Event, EventKind, Session, new_id
from sessions.statements import Sql, atomic, collect, columns, prepared, row_of, save, write

#: Events, and bytes of their payloads, that are read at a time.
MAX_PAGE_EVENTS, MAX_PAGE_BYTES = 500, 256 * 1024
#: How long a transaction that has locked a session may be idle.
IDLE_LOCK_TIMEOUT = "500ms"
#: A page of a session's events. It goes from event to event until the page is full, and so reads no more than it
#: returns: any other limit by bytes would unpack all 500 rows first, and they may have 400 KB each.
_PAGE = f"""
    WITH RECURSIVE page(number, kind, payload, first, bytes, count) AS (
        SELECT %s::bigint, NULL::varchar, NULL::text, NULL::bigint, 0, 0
        UNION ALL
        SELECT next.number, next.kind, next.payload, next.first, page.bytes + octet_length(next.payload), page.count + 1
        FROM page CROSS JOIN LATERAL (
            SELECT number, kind, ({PAYLOAD})::text AS payload, first FROM agent_sessions_event
            WHERE session_id = %s AND number > page.number ORDER BY number LIMIT 1
        ) AS next
        WHERE page.bytes < %s AND page.count < %s
    )
    SELECT number, kind, payload, first, bytes FROM page WHERE count > 0 ORDER BY count
"""

#: Ends a transaction that is idle: a process that freezes with a lock loses it before a user who stops the turn has
#: waited for a second. Part of the statements that lock, because each batch of tokens would pay for another round trip.
_IDLE_TIMEOUT = "set_config('idle_in_transaction_session_timeout', %s, true) AS quick"
#: Locks a session. The condition is evaluated before the lock is waited for, and limits that wait.
_LOCK = f"""
    SELECT {columns(Session)}, {_IDLE_TIMEOUT} FROM agent_sessions_session
    WHERE id = %s AND deleted_at IS NULL AND set_config('lock_timeout', %s, true) <> '' FOR NO KEY UPDATE
"""
#: The same without the row, which a statement behind the lock reads.
_LOCK_UNREAD = _LOCK.replace(f"{columns(Session)}, ", "")
_LOCK_UNREAD_OF_TURN = _LOCK_UNREAD.replace(
    "id = %s", "id = (SELECT session_id FROM agent_sessions_turn WHERE id = %s)"
)
#: Locks those of some sessions that are free, in the order of their ids.
_LOCK_FREE = f"""
    SELECT id, last_number, {_IDLE_TIMEOUT} FROM agent_sessions_session
    WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
#: The attempts that hold turns.
_RUNNING_ATTEMPTS = "SELECT id, attempt FROM agent_sessions_turn WHERE id = ANY(%s) AND status = 'running'"
#: Inserts events.
_INSERT = """
    INSERT INTO agent_sessions_event (id, session_id, turn_id, number, kind, payload, attempt, created_at)
    SELECT new.*, clock_timestamp() FROM unnest(
        %s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::varchar[], %s::jsonb[], %s::integer[]
    ) AS new
"""
#: Advances the newest number of sessions. Pieces of text leave `updated_at` alone, because each batch would change its
#: index.
_COUNT = """
    UPDATE agent_sessions_session AS session SET last_number = last_number + added.count
    FROM unnest(%s::uuid[], %s::bigint[]) AS added(id, count) WHERE session.id = added.id
"""

#: A turn's id and the number of the attempt. One process can run two attempts at one turn for a while.
type Attempt = tuple[uuid.UUID, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event without a number. By its id a retry finds what was written before."""

    kind: EventKind
    payload: dict[str, Any]
    turn_id: uuid.UUID | None = None
    attempt: int = 0
    id: uuid.UUID = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """A committed event."""

    session_id: uuid.UUID
    number: int
    kind: str
    payload: dict[str, Any]
    #: Of a compacted event (`sessions.events.compaction`): the first of the numbers that it replaces.
    first: int | None = None


class Page(list[LoggedEvent]):
    """Some events of a session, in order; `more` when others may follow them."""

    more = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Events of one attempt, to be written only while it holds its turn."""

    session_id: uuid.UUID
    turn_id: uuid.UUID
    attempt: int
    events: tuple[NewEvent, ...]

    @property
    def key(self) -> Attempt:
        """The attempt that wrote the events."""
        return self.turn_id, self.attempt


@dataclass(slots=True)
class Appended:
    """What became of some additions: the committed events, and the attempts of which nothing was written."""

    events: list[LoggedEvent] = field(default_factory=list)
    #: They no longer hold their turn.
    stale: set[Attempt] = field(default_factory=set)
    #: Another transaction has locked their session. They may be written later.
    skipped: set[Attempt] = field(default_factory=set)


def lock(session_id: uuid.UUID) -> Session:
    """Return the session, locked until the end of the transaction. Raises Session.DoesNotExist when it was deleted."""
    for *values, _ in prepared(_LOCK, IDLE_LOCK_TIMEOUT, session_id, lock_timeout()):
        return row_of(Session, values)
    raise Session.DoesNotExist


def lock_of(session_id: uuid.UUID) -> Sql:
    """Return the statement that locks a session, for `statements.prepared`, which reads behind it.

    It locks nothing when the session was deleted, and the reader finds no session then: its id was known after its
    commit, and a deleted session never comes back.
    """
    return Sql(_LOCK_UNREAD, (IDLE_LOCK_TIMEOUT, session_id, lock_timeout()))


def lock_of_turn(turn_id: uuid.UUID) -> Sql:
    """Return the statement that locks the session of a turn (`lock_of`)."""
    return Sql(_LOCK_UNREAD_OF_TURN, (IDLE_LOCK_TIMEOUT, turn_id, lock_timeout()))


def lock_if_free(session_id: uuid.UUID) -> Session | None:
    """Return the session, locked, or None when another transaction has locked it or it was deleted."""
    locked = prepared(f"{_LOCK} SKIP LOCKED", IDLE_LOCK_TIMEOUT, session_id, lock_timeout())
    return next((row_of(Session, values) for *values, _ in locked), None)


def append(session: Session, events: Sequence[NewEvent]) -> list[LoggedEvent]:
    """Write events to a session that the caller has locked; the caller commits, then publishes the returned events."""
    numbered = enumerate(events, session.last_number + 1)
    logged = [LoggedEvent(session.pk, number, new.kind, new.payload) for number, new in numbered]
    session.last_number += len(events)
    session.updated_at = timezone.now()
    if events:
        save(session, "last_number", "updated_at")
        _write(list(zip(logged, events, strict=True)))
    return logged


def append_all(additions: Sequence[Addition], *, is_retry: bool = False) -> Appended:
    """Write events of many turns in one transaction. Those of a session that is locked elsewhere are skipped.

    Nothing is written of a stale attempt, which no longer holds its turn. After an error the same events may be written
    again: a retry finds the events of an uncertain COMMIT by id and returns them as they are. What a retry skips is
    uncertain still, because the transaction that locks the session may be the one that committed it.
    """
    with atomic():
        locked = prepared(_LOCK_FREE, IDLE_LOCK_TIMEOUT, list({a.session_id for a in additions}))
        last = {session_id: number for session_id, number, _ in locked}
        # A statement of its own, after the locks: it must see what another worker has committed in the meantime.
        running = set(prepared(_RUNNING_ATTEMPTS, [a.turn_id for a in additions]))
        earlier = _find_written(additions) if is_retry else {}
        appended = Appended()
        numbered: list[tuple[LoggedEvent, NewEvent]] = []
        for addition in additions:
            if addition.events[0].id in earlier:
                appended.events.extend(earlier[event.id] for event in addition.events)
            elif addition.key not in running:
                appended.stale.add(addition.key)
            elif addition.session_id not in last:
                appended.skipped.add(addition.key)
            else:
                first = last[addition.session_id] + 1
                last[addition.session_id] += len(addition.events)
                numbered += (
                    (LoggedEvent(addition.session_id, number, event.kind, event.payload), event)
                    for number, event in enumerate(addition.events, first)
                )
        counts = Counter(event.session_id for event, _ in numbered)
        if counts:
            write(_COUNT, list(counts), list(counts.values()))
            _write(numbered)
    appended.events.extend(event for event, _ in numbered)
    return appended


def since(session_id: uuid.UUID, after: int, limit: int = MAX_PAGE_EVENTS) -> Page:
    """Return the events with numbers above `after`, in order: `limit` at most, fewer when they are large.

    Of a compacted event only the part above `after` is returned.
    """
    records = prepared(_PAGE, after, session_id, MAX_PAGE_BYTES, limit)
    page = Page(
        _part(LoggedEvent(session_id, number, kind, decode(json.loads(payload)), first), after)
        for number, kind, payload, first, _ in records
    )
    page.more = bool(records) and (len(records) >= limit or records[-1][-1] >= MAX_PAGE_BYTES)
    return page


def _part(event: LoggedEvent, after: int) -> LoggedEvent:
    """Return the event, or the part of a compacted one with the numbers above `after`."""
    if event.first is None:
        return event
    payload = {**event.payload}
    ends, first = payload.pop("ends"), event.first
    if after >= first:
        payload["text"] = payload["text"][ends[after - first] :]
        first = after + 1
    return replace(event, payload=payload, first=first if first < event.number else None)


def _find_written(additions: Sequence[Addition]) -> dict[uuid.UUID, LoggedEvent]:
    ids = [event.id for addition in additions for event in addition.events]
    events = Event.objects.filter(pk__in=ids).values_list("pk", "session_id", "number", "kind", "payload")
    return {pk: LoggedEvent(*columns) for pk, *columns in events}


def _write(events: Sequence[tuple[LoggedEvent, NewEvent]]) -> None:
    for logged, new in events:
        payload = encode(new.payload)
        collect(_INSERT, new.id, logged.session_id, new.turn_id, logged.number, str(new.kind), payload, new.attempt)
