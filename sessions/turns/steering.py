"""Messages that a user sends into an open turn, whose next step reads them.

The claim of the next step reads them: from then on they have their place in the conversation, which is never between a
call and its result, because a turn with open calls cannot be claimed. A turn that ends before leaves them to a queued
turn, in the same transaction. Callers have locked the session. This module never changes the status of a turn.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import F, QuerySet

from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import EventKind, Message, MessageRole, Session, SubTask, Turn, new_id
from sessions.results import AcceptedMessage
from sessions.turns.positions import put_first
from sessions.turns.transcript import store_message

#: So many messages of a turn wait to be read at most; those beyond are queued.
MAX_UNREAD = 100


def steer_message(
    session: Session,
    turn: Turn,
    content: str,
    *,
    before: Sequence[NewEvent] = (),
    images: Sequence[dict[str, Any]] = (),
    client_message_id: str | None = None,
) -> AcceptedMessage:
    """Store a user's message for the next step of an open turn. Its event follows `before`."""
    fields: dict[str, Any] = {"images": images} if images else {}
    message = Message(
        id=new_id(), session=session, turn=turn, role=MessageRole.USER, content=content, steered=True, **fields
    )
    message.client_message_id = client_message_id or ""
    events = store_message(message, before=before, steer=True, **fields)
    Turn.objects.filter(pk=turn.pk).update(unread=F("unread") + 1)
    return AcceptedMessage(
        events=events, session_id=session.pk, message_id=message.pk, turn_id=turn.pk, number=message.number
    )


def unread_messages(turn: Turn) -> list[uuid.UUID]:
    """Return the ids of a turn's messages that no step has read, in the order in which they came."""
    if not turn.unread:
        return []
    return list(_unread(turn).order_by("number").values_list("pk", flat=True))


def mark_read(messages: Sequence[uuid.UUID], number: int, subtask: SubTask | None) -> None:
    """Give messages the place of the step that reads them: the number of the event that began it."""
    Message.objects.filter(pk__in=messages).update(read_number=number, subtask=subtask)


def withdraw_unread(message: Message) -> None:
    """Take a steered message that no step has read out of its turn."""
    Turn.objects.filter(pk=message.turn_id).update(unread=F("unread") - 1)


def queue_unread(session: Session, turn: Turn) -> list[LoggedEvent]:
    """Queue a turn for the messages that no step of an ended turn has read, before all others. Return its events.

    A turn that has no other messages ends with them, as any turn that is stopped before it has begun.
    """
    messages = unread_messages(turn)
    if not messages:
        return []
    Turn.objects.filter(pk=turn.pk).update(unread=0)
    if not turn.messages.filter(role=MessageRole.USER, withdrawn=False).exclude(pk__in=messages).exists():
        return []
    turn_id = new_id()
    payload = {"turn_id": str(turn_id), "messages": [str(message) for message in messages]}
    events = log.append(session, [NewEvent(kind=EventKind.TURN_QUEUED, turn_id=turn_id, payload=payload)])
    Turn.objects.create(
        id=turn_id, session=session, position=events[-1].number, api_key=turn.api_key, unread=len(messages)
    )
    Message.objects.filter(pk__in=messages).update(turn=turn_id, subtask=None)
    return events + put_first(session)


def _unread(turn: Turn) -> QuerySet[Message]:
    return Message.objects.filter(turn=turn, steered=True, read_number=None, withdrawn=False)
