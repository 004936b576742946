"""Reads what a connection needs to know of a session's past: where turns begin, how they ended, what they used."""

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import Min, Q, Sum

from llm import catalog
from sessions.models import (
    Event,
    EventKind,
    Message,
    ModelCall,
    ModelCallOutcome,
    ModelCallPurpose,
    Session,
    Turn,
    TurnStatus,
)

#: Clocks of processes may differ, and reading a little more costs little.
CLOCK_TOLERANCE = timedelta(minutes=1)
PAGE_SESSIONS = 50
ENDS = {
    TurnStatus.COMPLETED: EventKind.TURN_COMPLETED,
    TurnStatus.FAILED: EventKind.TURN_FAILED,
    TurnStatus.CANCELLED: EventKind.TURN_CANCELLED,
}


def start_of_open_turns(session_id: uuid.UUID, after: int) -> int:
    """Return the number after which the turns begin that were open when an event was written."""
    event = Event.objects.filter(session=session_id, number__gte=after).order_by("number").first()
    turns = Turn.objects.filter(session=session_id, position__lte=after)
    if event is not None:
        was_open = Q(finished_at__isnull=True) | Q(finished_at__gt=event.created_at - CLOCK_TOLERANCE)
        turns = turns.filter(was_open)
    first = turns.aggregate(first=Min("position"))["first"]
    # The message of a turn comes before the event that queues it.
    return after if first is None else max(first - 2, 0)


def own_messages(session_id: uuid.UUID, client_message_ids: list[str]) -> set[str]:
    """Return the ids of the messages that a client has sent under these ids."""
    rows = Message.objects.filter(session=session_id, client_message_id__in=client_message_ids)
    return {str(pk) for pk in rows.exclude(client_message_id="").values_list("pk", flat=True)}


def turn_end(turn_id: uuid.UUID) -> tuple[str, dict[str, Any], int] | None:
    """Return the kind and payload of the event that ended a turn, and a number by which it was written."""
    turn = Turn.objects.filter(pk=turn_id).first()
    if turn is None or turn.status not in ENDS:
        return None
    # Read after the status: the end is among the events up to it.
    last = Session.every.values_list("last_number", flat=True).get(pk=turn.session_id)
    payload = {"turn_id": str(turn.pk), "error_code": turn.error_code, "error": turn.error}
    return ENDS[TurnStatus(turn.status)], payload, last


def context_usage(session_id: uuid.UUID) -> dict[str, Any] | None:
    """Return how many tokens the context has, how many its model can read, and what the session has cost."""
    calls = ModelCall.objects.filter(session=session_id)
    last = calls.filter(outcome=ModelCallOutcome.OK, purpose=ModelCallPurpose.STEP).order_by("-pk").first()
    if last is None:
        return None
    usage: dict[str, Any] = {"used": last.input_tokens + last.output_tokens, "size": catalog.find(last.model).window}
    cost = calls.aggregate(cost=Sum("cost"))["cost"]
    return usage if cost is None else {**usage, "cost": {"amount": float(cost), "currency": "USD"}}


def sessions_page(owner_id: int, folder: str | None, offset: int) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of an owner's sessions, the one used last first, and the cursor of the next page."""
    rows = Session.objects.filter(owner_id=owner_id, hidden=False).select_related("project")
    if folder is not None:
        rows = rows.filter(project__workspace_path=folder)
    page = list(rows.order_by("-updated_at", "-pk")[offset : offset + PAGE_SESSIONS + 1])
    sessions = [
        {
            "sessionId": session.key,
            "cwd": folder_of(session) or "/",
            **({"title": session.title} if session.title else {}),
            "updatedAt": session.updated_at.isoformat(),
        }
        for session in page[:PAGE_SESSIONS]
    ]
    return sessions, str(offset + PAGE_SESSIONS) if len(page) > PAGE_SESSIONS else None


def folder_of(session: Session) -> str:
    """Return the folder of a session on its client's machine, empty where no client has named one."""
    return (session.project and session.project.workspace_path) or ""
