"""Reads the rows of a part of a story: as many queries for one event as for a hundred.

Texts may have megabytes: only the beginning of each is read.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, DecimalField, OuterRef, Subquery, Sum
from django.db.models.functions import Left, Length

from sessions.events.stored_text import decode
from sessions.models import PIECES, Event, EventKind, Message, ModelCall, Session, ToolCall, Turn

#: Of a text that a story shows; the page of the row has the rest.
MAX_TEXT_CHARACTERS = 20_000
#: Events on a page, without the pieces of texts.
EVENTS_PER_PAGE = 200
ENDS = (EventKind.TURN_COMPLETED, EventKind.TURN_FAILED, EventKind.TURN_CANCELLED)


@dataclass(frozen=True, slots=True)
class Part:
    """Some events of a session, in order, and whether others come before and after them."""

    events: list[Event]
    has_earlier: bool = False
    has_later: bool = False


@dataclass(slots=True)
class Rows:
    """What belongs to the events of a part. Rows are found by what events name."""

    turns: dict[uuid.UUID, Any] = field(default_factory=dict)
    #: By the number of the event that announced it.
    messages: dict[int, Any] = field(default_factory=dict)
    #: By turn and the id of the call.
    calls: dict[tuple[uuid.UUID, str], Any] = field(default_factory=dict)
    #: By turn and attempt.
    model_calls: dict[tuple[uuid.UUID, int], list[ModelCall]] = field(default_factory=lambda: defaultdict(list))


def read_part(session: Session, *, before: int | None = None, after: int | None = None) -> Part:
    """Return a page of a session's events: those before or after a number, without either the newest ones."""
    events = Event.objects.filter(session=session).exclude(kind__in=PIECES)
    if after is not None:
        page = list(events.filter(number__gt=after).order_by("number")[: EVENTS_PER_PAGE + 1])
        return Part(_decoded(page[:EVENTS_PER_PAGE]), after > 0, len(page) > EVENTS_PER_PAGE)
    if before is not None:
        events = events.filter(number__lt=before)
    page = list(events.order_by("-number")[: EVENTS_PER_PAGE + 1])
    return Part(_decoded(page[EVENTS_PER_PAGE - 1 :: -1]), len(page) > EVENTS_PER_PAGE, before is not None)


def read_turn(turn: Turn) -> Part:
    """Return the first events of a turn. Its end bounds the search, because events have no index by turn."""
    first = Message.objects.filter(turn=turn).order_by("number").values_list("number", flat=True).first()
    events = Event.objects.filter(session=turn.session_id, turn=turn, number__gte=first or turn.position)
    if turn.finished_at:
        end = events.filter(kind__in=ENDS).order_by("number").values("number")[:1]
        events = events.filter(number__lte=Subquery(end))
    page = list(events.exclude(kind__in=PIECES).order_by("number")[: EVENTS_PER_PAGE + 1])
    return Part(_decoded(page[:EVENTS_PER_PAGE]), False, len(page) > EVENTS_PER_PAGE)


def _decoded(events: Sequence[Event]) -> list[Event]:
    for event in events:
        event.payload = decode(event.payload)
    return list(events)


def read_rows(events: Iterable[Event]) -> Rows:
    """Return what belongs to events. Four queries."""
    events = list(events)
    turn_ids = {event.turn_id for event in events if event.turn_id}
    rows = Rows()
    for turn in turns_with_costs(turn_ids):
        rows.turns[turn.pk] = turn
    numbers = [event.number for event in events if event.kind == EventKind.MESSAGE_ADDED]
    messages = Message.objects.filter(session__in={event.session_id for event in events}, number__in=numbers)
    for message in (
        messages.select_related("subtask")
        .defer("content", "reasoning", "provider_fields")
        .annotate(
            text=Left("content", MAX_TEXT_CHARACTERS),
            length=Length("content"),
            thoughts=Left("reasoning", MAX_TEXT_CHARACTERS),
            thoughts_length=Length("reasoning"),
        )
    ):
        rows.messages[message.number] = message
    asked = {call["id"] for message in rows.messages.values() for call in message.tool_calls}
    named = {str(event.payload["call_id"]) for event in events if "call_id" in event.payload}
    answered = {message.tool_call_id for message in rows.messages.values() if message.tool_call_id}
    for call in read_calls(turn_ids, asked | named | answered):
        rows.calls[call.turn_id, call.call_id] = call
    attempts = {event.attempt for event in events if event.kind == EventKind.TURN_STARTED}
    for model_call in ModelCall.objects.filter(turn__in=turn_ids, attempt__in=attempts).order_by("pk"):
        if model_call.turn_id:
            rows.model_calls[model_call.turn_id, model_call.attempt].append(model_call)
    return rows


def turns_with_costs(turn_ids: Iterable[uuid.UUID]) -> Any:
    """Return turns, each with what its model calls have cost and how many they are."""
    calls = ModelCall.objects.filter(turn=OuterRef("pk")).order_by().values("turn")
    cost = calls.annotate(sum=Sum("cost", default=Decimal())).values("sum")
    return Turn.objects.filter(pk__in=turn_ids).annotate(
        cost_so_far=Subquery(cost, output_field=DecimalField()),
        unpriced_calls=Subquery(calls.filter(cost=None).annotate(count=Count("pk")).values("count")),
    )


def read_calls(turn_ids: Iterable[uuid.UUID], call_ids: Iterable[str]) -> Any:
    """Return tool calls with their approvals and the beginning of their results."""
    calls = ToolCall.objects.filter(turn__in=turn_ids, call_id__in=call_ids)
    return (
        calls.select_related("approval__decided_by")
        .defer("result")
        .annotate(text=Left("result", MAX_TEXT_CHARACTERS), length=Length("result"))
    )
