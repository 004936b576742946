"""Folds the pieces of text of turns that have ended, so that the log does not keep a row for every few tokens.

Neighbouring pieces of one message become one event that stands for their numbers and knows where each of them ended.
So no number ever means something else, and a client that comes back in the middle still gets exactly the rest
(`sessions.events.log.since`). Only what can no longer change is folded.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import accumulate

from django.db import transaction
from django.utils import timezone

from sessions.models import PIECES, Event, Turn

#: How long after its end a turn is left alone: most clients that were away for a moment then get plain pieces.
COMPACT_AFTER = timedelta(minutes=1)
#: Longest text of a folded event, in characters; frames stay well below what clients take.
MAX_TEXT_LENGTH = 32_000


def compactable_turns(limit: int) -> list[uuid.UUID]:
    """Return turns that ended a while ago and were not folded yet, oldest first."""
    ended = Turn.objects.filter(folded=False, finished_at__lt=timezone.now() - COMPACT_AFTER)
    return list(ended.order_by("finished_at").values_list("pk", flat=True)[:limit])


def compact(turn_id: uuid.UUID) -> int:
    """Fold the pieces of a turn that has ended; return how many rows that saved. Does nothing a second time."""
    with transaction.atomic():
        ended = Turn.objects.filter(pk=turn_id, folded=False, finished_at__isnull=False)
        if not ended.update(folded=True):
            return 0
        turn = Turn.objects.get(pk=turn_id)
        pieces = Event.objects.filter(session_id=turn.session_id, turn=turn, kind__in=PIECES, number__gt=turn.position)
        kept: list[Event] = []
        superfluous: list[uuid.UUID] = []
        for run in _runs(list(pieces.order_by("number"))):
            if len(run) > 1:
                kept.append(_folded(run))
                superfluous += [piece.pk for piece in run[:-1]]
        Event.objects.filter(pk__in=superfluous).delete()
        Event.objects.bulk_update(kept, ["first", "payload"])
    return len(superfluous)


def _runs(pieces: list[Event]) -> Iterator[list[Event]]:
    """Yield pieces of one message whose numbers follow one another, together."""
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


def _folded(run: list[Event]) -> Event:
    # The last row stays, because its number is the one that readers look for.
    event = run[-1]
    texts = [piece.payload["text"] for piece in run]
    event.first = run[0].number
    event.payload = {**event.payload, "text": "".join(texts), "ends": list(accumulate(map(len, texts)))}
    return event
