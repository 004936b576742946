"""Compacts the pieces of text of turns that have ended, so that the log does not keep a row for every few tokens.

Neighbouring pieces of one message become one event that replaces their numbers and records where each piece ended. No
number ever changes its meaning: a client that returns in the middle still gets exactly the rest
(`sessions.events.log.since`). This module must never compact a turn that can still change.

Text that the message has as well is not stored a second time (`sessions.events.stored_text`).

A long turn is compacted window by window, each a short transaction, and a later run continues where one ended. Texts
stay in PostgreSQL: a window costs this process a few numbers for each of its events.
"""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate

from django.db import connection, transaction
from django.db.models.functions import Now

from sessions.database import rows
from sessions.events import stored_text
from sessions.models import PIECES, EventKind, Turn
from sessions.upkeep import pieces

#: Clients that were away for a moment still get plain pieces.
COMPACT_AFTER = timedelta(minutes=1)
#: Characters of one compacted event. Frames stay well below the size that clients accept.
MAX_TEXT_LENGTH = 32_000
#: Numbers of the log that one transaction looks at.
WINDOW = 5_000
#: Processes that cannot read a text from its message are from before this migration. They are gone a while later.
READERS_MIGRATION = "0022_texts_stand_in_messages"
READERS_GRACE = timedelta(hours=1)
#: Turns that take their turn, a window each: a long one does not hold up the others.
ROUND_TURNS = 50

_ENDS = (EventKind.TURN_COMPLETED, EventKind.TURN_FAILED, EventKind.TURN_CANCELLED)
#: Locks a turn that has ended, unless another process compacts it.
_LOCK = """
    SELECT turn.session_id, turn.position, turn.compaction, session.last_number, EXISTS (
        SELECT FROM django_migrations
        WHERE app = 'agent_sessions' AND name = %s AND applied <= statement_timestamp() - %s
    )
    FROM agent_sessions_turn AS turn JOIN agent_sessions_session AS session ON session.id = turn.session_id
    WHERE turn.id = %s AND NOT turn.folded AND turn.finished_at IS NOT NULL
    FOR NO KEY UPDATE OF turn SKIP LOCKED
"""
#: The turn's pieces within a window, and its end.
_READ = """
    SELECT number, first IS NOT NULL, kind, payload->>'message_id',
        coalesce(char_length(payload->>'text'), (payload->'from_message'->>1)::integer)
    FROM agent_sessions_event
    WHERE session_id = %s AND number > %s AND number <= %s AND turn_id = %s AND kind = ANY(%s) ORDER BY number
"""
#: Joins the pieces of each span in its last row, which is the one that readers look for. Where the message has the
#: same text at the same place, the row says so instead.
_MERGE = """
    WITH span AS (
        SELECT * FROM unnest(
            %s::bigint[], %s::bigint[], %s::jsonb[], %s::uuid[], %s::varchar[], %s::integer[], %s::integer[]
        ) AS span(first, last, ends, message_id, kind, start, length)
    ), joined AS MATERIALIZED (
        SELECT span.*, (
            SELECT string_agg(payload->>'text', '' ORDER BY number) FROM agent_sessions_event
            WHERE session_id = %s AND number BETWEEN span.first AND span.last
        ) AS text, (
            SELECT substr(CASE span.kind WHEN 'text_delta' THEN content ELSE reasoning END, start + 1, length)
            FROM agent_sessions_message
            WHERE id = span.message_id AND %s AND octet_length(content) + octet_length(reasoning) <= %s
        ) AS stored FROM span
    ), removed AS (
        DELETE FROM agent_sessions_event AS event USING joined
        WHERE event.session_id = %s AND event.number >= joined.first AND event.number < joined.last
    )
    UPDATE agent_sessions_event AS event
    SET first = CASE WHEN joined.first < joined.last THEN joined.first ELSE event.first END,
        payload = CASE
            WHEN joined.text = joined.stored
            THEN payload - 'text' || jsonb_build_object('from_message', jsonb_build_array(joined.start, joined.length))
            ELSE payload || jsonb_build_object('text', joined.text)
        END || CASE WHEN joined.first < joined.last THEN jsonb_build_object('ends', joined.ends) ELSE '{}' END
    FROM joined WHERE event.session_id = %s AND event.number = joined.last
        AND (joined.first < joined.last OR joined.text = joined.stored)
"""
#: Only the steps of the turn needed them.
_FORGET = """
    UPDATE agent_sessions_message SET provider_fields = '' WHERE turn_id = %s AND provider_fields <> ''
"""
_ADVANCE = "UPDATE agent_sessions_turn SET folded = %s, compaction = %s WHERE id = %s"


@dataclass(frozen=True, slots=True)
class _Piece:
    number: int
    is_compacted: bool
    kind: str
    message_id: str
    length: int


@dataclass(slots=True)
class _Span:
    """Neighbouring pieces of one message that become one event."""

    #: Where its text begins in the message, in characters.
    start: int = 0
    pieces: list[_Piece] = field(default_factory=list)
    length: int = 0

    def accepts(self, piece: _Piece) -> bool:
        last = self.pieces[-1]
        return (
            piece.number == last.number + 1
            and (piece.kind, piece.message_id) == (last.kind, last.message_id)
            and not (piece.is_compacted or last.is_compacted)
            and self.length + piece.length <= MAX_TEXT_LENGTH
        )

    def add(self, piece: _Piece) -> None:
        self.pieces.append(piece)
        self.length += piece.length


def compact_ended_turns(deadline: float) -> int:
    """Compact turns until none is left or the deadline passes; return how many rows that saved.

    Several processes may do so at the same time. A turn that fails is put off, and the others go on.
    """
    skipped = pieces.postponed("compaction")
    saved = 0
    while turns := compactable_turns(ROUND_TURNS, skipped):
        has_advanced = False
        for turn_id in turns:
            if time.monotonic() > deadline:
                return saved
            try:
                window = compact_window(turn_id)
            except Exception as error:
                pieces.postpone("compaction", turn_id, error)
                skipped.add(str(turn_id))
                has_advanced = True
                continue
            has_advanced = has_advanced or window is not None
            saved += window or 0
        if not has_advanced:
            # Other processes have locked all of them.
            break
    return saved


def compactable_turns(limit: int, skipped: Iterable[str] = ()) -> list[uuid.UUID]:
    """Return turns that ended a while ago and are not compacted yet, oldest first."""
    turns = Turn.objects.filter(folded=False, finished_at__lt=Now() - COMPACT_AFTER).exclude(pk__in=list(skipped))
    return list(turns.order_by("finished_at").values_list("pk", flat=True)[:limit])


def compact(turn_id: uuid.UUID) -> int:
    """Compact the pieces of a turn that has ended; return how many rows that saved. Does nothing a second time."""
    total = 0
    while (saved := compact_window(turn_id)) is not None:
        total += saved
    return total


def compact_window(turn_id: uuid.UUID) -> int | None:
    """Compact the next window of a turn that has ended; return how many rows that saved, None when there is none."""
    with transaction.atomic():
        turn = next(iter(rows(_LOCK, READERS_MIGRATION, READERS_GRACE, turn_id)), None)
        if turn is None:
            return None
        session_id, position, progress, last_number, has_readers = turn
        done = json.loads(progress) if progress else {}
        start: int = done.get("number", position)
        end = start + WINDOW
        found = rows(_READ, session_id, start, end, turn_id, [*map(str, (*PIECES, *_ENDS))])
        has_ended = end >= last_number or any(kind in _ENDS for _, _, kind, *_ in found)
        lengths: dict[str, int] = done.get("lengths", {})
        spans = list(_spans((_Piece(*columns) for columns in found if columns[2] in PIECES), lengths))
        _merge(session_id, spans, has_readers=has_readers)
        with connection.cursor() as cursor:
            if has_readers:
                # The user's message comes before the position of its turn.
                cursor.execute(stored_text.REPLACE_ANNOUNCED, [turn_id, start if done else 0, end])
            progress = None if has_ended else json.dumps({"number": end, "lengths": lengths})
            if has_ended:
                cursor.execute(_FORGET, [turn_id])
            cursor.execute(_ADVANCE, [has_ended, progress, turn_id])
    return sum(len(span.pieces) - 1 for span in spans)


def _spans(found: Iterable[_Piece], lengths: dict[str, int]) -> Iterator[_Span]:
    """Yield pieces of one message with consecutive numbers together.

    `lengths` has how much of the current message earlier spans hold, by kind, and is kept up to date.
    """
    span = _Span()
    for piece in found:
        if not span.pieces or not span.accepts(piece):
            if span.pieces:
                yield span
            text = f"{piece.message_id}/{piece.kind}"
            if not any(name.startswith(piece.message_id) for name in lengths):
                # The message before is complete.
                lengths.clear()
            span = _Span(start=lengths.setdefault(text, 0))
        span.add(piece)
        lengths[f"{piece.message_id}/{piece.kind}"] += piece.length
    if span.pieces:
        yield span


def _merge(session_id: uuid.UUID, spans: list[_Span], *, has_readers: bool) -> None:
    """Join the pieces of each span, and leave out text that the message has as well."""
    worth = [span for span in spans if len(span.pieces) > 1 or span.length >= stored_text.MIN_LENGTH]
    if not worth:
        return
    columns = zip(
        *(
            (
                span.pieces[0].number,
                span.pieces[-1].number,
                json.dumps(list(accumulate(piece.length for piece in span.pieces))),
                uuid.UUID(span.pieces[0].message_id),
                span.pieces[0].kind,
                span.start,
                span.length,
            )
            for span in worth
        ),
        strict=True,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            _MERGE, [*map(list, columns), session_id, has_readers, stored_text.MAX_BYTES, session_id, session_id]
        )
