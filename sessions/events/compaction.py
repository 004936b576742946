"""Compacts the pieces of text of turns that have ended, so that the log does not keep a row for every few tokens.

Neighbouring pieces of one message become one event that replaces their numbers and records where each piece ended. No
number ever changes its meaning: a client that returns in the middle still gets exactly the rest
(`sessions.events.log.since`). This module must never compact a turn that can still change.
"""

import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import accumulate

from django.db import transaction
from django.utils import timezone

from sessions.models import PIECES, Event, Turn

#: Clients that were away for a moment still get plain pieces.
COMPACT_AFTER = timedelta(minutes=1)
#: Characters of one compacted event. Frames stay well below the size that clients accept.
MAX_TEXT_LENGTH = 32_000


def compactable_turns(limit: int) -> list[uuid.UUID]:
    """Return turns that ended a while ago and are not compacted yet, oldest first."""
    turns = Turn.objects.filter(folded=False, finished_at__lt=timezone.now() - COMPACT_AFTER)
    return list(turns.order_by("finished_at").values_list("pk", flat=True)[:limit])


def compact(turn_id: uuid.UUID) -> int:
    """Compact the pieces of a turn that has ended; return how many rows that saved. Does nothing a second time."""
    with transaction.atomic():
        if not Turn.objects.filter(pk=turn_id, folded=False, finished_at__isnull=False).update(folded=True):
            return 0
        turn = Turn.objects.get(pk=turn_id)
        pieces = Event.objects.filter(session_id=turn.session_id, turn=turn, kind__in=PIECES, number__gt=turn.position)
        runs = [run for run in _runs(pieces.order_by("number")) if len(run) > 1]
        surplus = [piece.pk for run in runs for piece in run[:-1]]
        Event.objects.filter(pk__in=surplus).delete()
        Event.objects.bulk_update([_merge(run) for run in runs], ["first", "payload"])
    return len(surplus)


def _runs(pieces: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield pieces of one message with consecutive numbers together."""
    run: list[Event] = []
    length = 0
    for piece in pieces:
        size = len(piece.payload["text"])
        follows = run and piece.number == run[-1].number + 1 and _message(piece) == _message(run[-1])
        if run and not (follows and length + size <= MAX_TEXT_LENGTH):
            yield run
            run, length = [], 0
        run.append(piece)
        length += size
    if run:
        yield run


def _message(piece: Event) -> object:
    return piece.kind, piece.payload["message_id"]


def _merge(run: list[Event]) -> Event:
    # Readers look for the number of the last row.
    event = run[-1]
    texts = [piece.payload["text"] for piece in run]
    event.first = run[0].number
    event.payload = {**event.payload, "text": "".join(texts), "ends": list(accumulate(map(len, texts)))}
    return event
