"""The user's messages until somebody answers them: taken, put first, changed, taken back. Each starts one turn.

One transaction for each verb, under the session's lock, with the events that tell of it.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence

from sessions import metrics
from sessions.database import atomic_until
from sessions.errors import MessageRejected
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    OPEN_STATUSES,
    EventKind,
    Message,
    MessageRole,
    Session,
    Turn,
    TurnStatus,
    new_id,
)
from sessions.protocol import ErrorCode
from sessions.results import Accepted, Change
from sessions.turns.current_agent import first_agent, require_agent, switch_agent
from sessions.turns.images import message_images
from sessions.turns.transcript import current_subtask, give_title, message_event, store_message
from sessions.turns.transitions import end_as_cancelled, next_ready_turn, transition, turn_event


def accept_message(
    session_id: uuid.UUID,
    content: str,
    *,
    client_message_id: str | None = None,
    interrupt: bool = False,
    agent: str | None = None,
    images: Sequence[uuid.UUID] = (),
    api_key: uuid.UUID | None = None,
    deadline: float = math.inf,
) -> Accepted:
    """Store a user's message and queue its turn. Once this returns, the message will be answered or say why not.

    The same `client_message_id` again is the same message, whatever its text. With `interrupt` the turn that is under
    way is stopped, and this message goes before all others that wait. `agent` answers from this message on. `images`
    are pictures of the session that it shows. The budgets of `api_key` count for the turn. Raises UnknownAgent,
    MessageRejected, and TooLate when it is not done at `deadline` (as `time.monotonic` counts); then nothing is stored.
    """
    require_agent(agent)
    message_id, turn_id = new_id(), new_id()
    stopped: Turn | None = None
    with atomic_until(deadline):
        session = log.lock(session_id)
        if client_message_id and (known := _already_accepted(session, client_message_id)):
            return known
        shown = {"images": pictures} if (pictures := message_images(session, images)) else {}
        events: list[LoggedEvent] = []
        if interrupt and (stopped := _under_way(session)):
            events += end_as_cancelled(session, stopped)
        new = first_agent(session)
        # A plan decides who works, until it is over.
        if agent and agent != session.current_agent and current_subtask(session) is None:
            new.append(switch_agent(session, agent, reason="User requested", confidence="high", by_user=True))
        new += [
            message_event(message_id, turn_id, MessageRole.USER, content, **shown),
            NewEvent(kind=EventKind.TURN_QUEUED, turn_id=turn_id, payload={"turn_id": str(turn_id)}),
        ]
        events += log.append(session, new)
        number = events[-1].number
        turn = Turn.objects.create(id=turn_id, session=session, position=number, api_key=api_key)
        message = Message(
            id=message_id, session=session, turn_id=turn_id, role=MessageRole.USER, content=content, **shown
        )
        message.client_message_id = client_message_id or ""
        store_message(message, events[-2])
        give_title(session, content)
        if interrupt:
            events += _put_first(session, turn)
    if stopped:
        metrics.turn_ended(stopped, TurnStatus.CANCELLED)
    return Accepted(
        events=events, ready=turn_id, session_id=session_id, message_id=message_id, turn_id=turn_id, number=number
    )


def edit_message(session_id: uuid.UUID, message_id: uuid.UUID, content: str, *, deadline: float = math.inf) -> Change:
    """Change the text of a message that waits. Raises MessageRejected and TooLate."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        message = _waiting(session, message_id)
        message.content = content
        message.save(update_fields=["content"])
        payload = {"message_id": str(message_id), "turn_id": str(message.turn_id), "content": content}
        events = log.append(session, [turn_event(EventKind.MESSAGE_EDITED, message.turn_id, payload)])
    return Change(events=events)


def withdraw_message(session_id: uuid.UUID, message_id: uuid.UUID, *, deadline: float = math.inf) -> Change:
    """Take back a message that waits: it is kept, but neither the model nor any client is shown it again.

    Its turn ends as cancelled. Raises MessageRejected and TooLate.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        message = _waiting(session, message_id)
        message.withdrawn = True
        message.save(update_fields=["withdrawn"])
        turn = message.turn
        transition(turn, TurnStatus.CANCELLED)
        payload = {"message_id": str(message_id), "turn_id": str(turn.pk)}
        new = [
            turn_event(EventKind.MESSAGE_WITHDRAWN, turn.pk, payload),
            turn_event(EventKind.TURN_CANCELLED, turn.pk, {"turn_id": str(turn.pk)}),
        ]
        events = log.append(session, new)
        ready = next_ready_turn(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def _waiting(session: Session, message_id: uuid.UUID) -> Message:
    mine = session.messages.filter(pk=message_id, role=MessageRole.USER, withdrawn=False)
    message = mine.select_related("turn").first()
    if message is None:
        raise MessageRejected(ErrorCode.MESSAGE_NOT_FOUND, f"There is no message `{message_id}` of yours here.")
    if message.turn.status != TurnStatus.QUEUED or message.turn.attempt:
        text = "This message is being answered or has been already. Stop its turn, or send another message."
        raise MessageRejected(ErrorCode.MESSAGE_BEGUN, text)
    return message


def _already_accepted(session: Session, client_message_id: str) -> Accepted | None:
    message = session.messages.filter(client_message_id=client_message_id).select_related("turn").first()
    if message is None:
        return None
    return Accepted(
        session_id=session.pk,
        message_id=message.pk,
        turn_id=message.turn_id,
        # The event that queued it follows the one that announced it.
        number=message.number + 1,
        repeated=True,
    )


def _under_way(session: Session) -> Turn | None:
    """Return the session's turn that an attempt has begun and that has not ended, whatever it is doing now."""
    return session.turns.filter(status__in=OPEN_STATUSES, attempt__gt=0).order_by("position").first()


def _put_first(session: Session, turn: Turn) -> list[LoggedEvent]:
    """Let a turn that was queued last go before all others that wait: each of those takes its neighbour's place."""
    waiting = list(session.turns.filter(status=TurnStatus.QUEUED).exclude(pk=turn.pk).order_by("position"))
    if not waiting:
        return []
    places = [other.position for other in waiting] + [turn.position]
    # A place is taken by one turn at a time, so the moves go around by way of a place that does not exist.
    moves = [(turn, -turn.position), *zip(reversed(waiting), reversed(places[1:]), strict=True), (turn, places[0])]
    for moved, place in moves:
        Turn.objects.filter(pk=moved.pk).update(position=place)
    order = {"turn_ids": [str(other.pk) for other in (turn, *waiting)]}
    return log.append(session, [NewEvent(kind=EventKind.QUEUE_CHANGED, turn_id=turn.pk, payload=order)])


def waiting_messages(session_id: uuid.UUID) -> list[Message]:
    """Return the user's messages that nobody has begun to answer, the next one first."""
    rows = Message.objects.filter(session_id=session_id, role=MessageRole.USER, withdrawn=False)
    return list(rows.filter(turn__status=TurnStatus.QUEUED, turn__attempt=0).order_by("turn__position"))
