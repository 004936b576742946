"""The event log: the numbered facts of a session, the only thing clients are ever told.

An event is committed, with its number, before anybody is shown it. Numbers have no gaps and grow by one within a
session, because they are taken under the lock on the session's row. Whoever writes events holds that lock, and takes
it before any other lock, so that two writers can never wait for each other.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import connection, transaction
from django.db.models import ExpressionWrapper, Func, QuerySet, TextField, Value

from sessions.models import Event, EventKind, Session, Turn, TurnStatus, new_id

#: Events, and bytes of their payloads, read at a time; a client that was away for long gets them in several pieces.
PAGE, PAGE_BYTES = 500, 256 * 1024
#: How long whoever has locked a session may do nothing.
HOLD = "700ms"
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

_INSERT = """
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
    #: Where one event stands for several numbers (sessions.folding), the first of them.
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
    return _locked().get(pk=session_id)


def lock_if_free(session_id: uuid.UUID) -> Session | None:
    """Return the session, locked, or None when somebody else has locked it, or it is gone."""
    return _locked(skip_locked=True).filter(pk=session_id).first()


def _locked(*, skip_locked: bool = False) -> QuerySet[Session]:
    # With the lock comes the promise to be quick: a process that freezes while it has one loses it, and its
    # transaction, before anybody who wants to stop the turn has waited for a second. Said in the statement that locks,
    # because one more would be one more round trip for each batch of tokens.
    quick = Func(Value("idle_in_transaction_session_timeout"), Value(HOLD), Value(True), function="set_config")
    rows = Session.objects.select_for_update(no_key=True, skip_locked=skip_locked)
    return rows.annotate(quick=ExpressionWrapper(quick, output_field=TextField()))


def append(session: Session, events: Sequence[NewEvent]) -> list[LoggedEvent]:
    """Write events to a session that the caller has locked; the caller commits, then publishes what is returned."""
    first = session.last_number + 1
    logged = _insert(session.pk, first, events)
    session.last_number += len(events)
    session.save(update_fields=["last_number", "updated_at"])
    return logged


def append_all(additions: Sequence[Addition], *, again: bool = False) -> tuple[list[LoggedEvent], set[Attempt]]:
    """Write events of many turns in one transaction; return what is committed and the attempts that were refused.

    An attempt is refused when it no longer holds its turn. After an error the same events may be written `again`: what
    an uncertain COMMIT had written is then found by id and returned as it is.
    """
    with transaction.atomic():
        rows = _locked().order_by("pk").filter(pk__in={a.session_id for a in additions})
        last = {row.pk: row.last_number for row in rows.only("last_number")}
        # After the locks, in a statement of its own: it must see what a takeover has committed in the meantime.
        held = set(
            Turn.objects.filter(pk__in=[a.turn_id for a in additions], status=TurnStatus.RUNNING).values_list(
                "pk", "attempt"
            )
        )
        written = _already_written(additions) if again else {}
        logged: list[LoggedEvent] = []
        refused: set[Attempt] = set()
        counts: dict[uuid.UUID, int] = defaultdict(int)
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
                counts[addition.session_id] += 1
                number = last[addition.session_id] + counts[addition.session_id]
                fresh.append((LoggedEvent(addition.session_id, number, event.kind, event.payload), event))
        _write(fresh)
        _advance(counts)
    return logged + [event for event, _ in fresh], refused


def since(session_id: uuid.UUID, after: int, limit: int = PAGE) -> Page:
    """Return the events with numbers above `after`, in order: `limit` at most, fewer when they are large.

    Exactly those: of an event that stands for several numbers only the part above `after` is returned.
    """
    with connection.cursor() as cursor:
        cursor.execute(_PAGE, [after, session_id, PAGE_BYTES, limit])
        rows = cursor.fetchall()
    page = Page(
        _part(LoggedEvent(session_id, number, kind, json.loads(payload), first), after)
        for number, kind, payload, first, _ in rows
    )
    page.more = bool(rows) and (len(rows) >= limit or rows[-1][-1] >= PAGE_BYTES)
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


def _rows(session_id: uuid.UUID, first: int, events: Iterable[NewEvent]) -> list[Event]:
    return [
        Event(
            id=event.id,
            session_id=session_id,
            turn_id=event.turn_id,
            number=number,
            kind=event.kind,
            payload=event.payload,
            attempt=event.attempt,
        )
        for number, event in enumerate(events, first)
    ]


def _insert(session_id: uuid.UUID, first: int, events: Sequence[NewEvent]) -> list[LoggedEvent]:
    rows = Event.objects.bulk_create(_rows(session_id, first, events))
    return [LoggedEvent(session_id, row.number, row.kind, row.payload) for row in rows]


def _already_written(additions: Sequence[Addition]) -> dict[uuid.UUID, LoggedEvent]:
    ids = [event.id for addition in additions for event in addition.events]
    rows = Event.objects.filter(pk__in=ids).values_list("pk", "session_id", "number", "kind", "payload")
    return {pk: LoggedEvent(*rest) for pk, *rest in rows}


def _write(fresh: Sequence[tuple[LoggedEvent, NewEvent]]) -> None:
    """Insert events of many sessions in one statement; the ORM's objects would cost more than PostgreSQL does."""
    if not fresh:
        return
    columns = zip(
        *(
            (new.id, event.session_id, new.turn_id, event.number, str(new.kind), json.dumps(new.payload), new.attempt)
            for event, new in fresh
        ),
        strict=True,
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [list(column) for column in columns])


def _advance(counts: dict[uuid.UUID, int]) -> None:
    """Move the newest number of many sessions on in one statement; the ORM would need one for each."""
    if counts:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE agent_sessions_session AS session SET last_number = last_number + added.count "
                "FROM unnest(%s::uuid[], %s::bigint[]) AS added(id, count) WHERE session.id = added.id",
                [list(counts), list(counts.values())],
            )
