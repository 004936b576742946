"""The user's messages until a step reads them: accept, put first, edit, withdraw. Each starts a turn or steers one.

A message can also take the place of the newest one whose turn has ended (`replacement`).

One transaction for each verb, under the session's lock. A message that a step may have read is never changed.
"""

import math
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Q

from sessions import metrics
from sessions.database import atomic_until
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import OPEN_STATUSES, EventKind, Message, MessageRole, Session, Turn, TurnStatus, new_id
from sessions.protocol.codes import MAX_MESSAGE_LENGTH, ErrorCode, Rejected
from sessions.results import AcceptedMessage, Change
from sessions.turns.current_agent import first_agent, require_agent, switch_agent
from sessions.turns.images import message_images
from sessions.turns.positions import put_first
from sessions.turns.replacement import REPLACED, replace_turn, require_replaceable
from sessions.turns.rows import current_subtask, lock_for_message
from sessions.turns.steering import MAX_UNREAD, steer_message, withdraw_unread
from sessions.turns.transitions import (
    cancel_waiting,
    end_as_cancelled,
    first_open_turn,
    next_ready_turn,
    queue_message,
    turn_event,
)


def accept_message(
    session_id: uuid.UUID,
    content: str,
    *,
    client_message_id: str | None = None,
    interrupt: bool = False,
    steer: bool = False,
    agent: str | None = None,
    images: Sequence[uuid.UUID] = (),
    replaces: uuid.UUID | None = None,
    api_key: uuid.UUID | None = None,
    deadline: float = math.inf,
) -> AcceptedMessage:
    """Store a user's message and queue its turn. Once this returns, the message gets an answer or an error.

    A repeated `client_message_id` means the same message, whatever its text. `interrupt` cancels the active turn and
    puts this message before all others. With `steer` the next step of the open turn reads it; without an open turn, and
    behind MAX_UNREAD such messages, it is an ordinary message. `agent` answers from this message on. `images` are
    images of the session. `replaces` is the message that began the session's newest turn, which has ended: its messages
    leave the conversation (`sessions.turns.replacement`). The budgets of `api_key` count for the turn that the message
    starts. Raises Rejected, and TooLate when it is not done at `deadline` (of `time.monotonic`); then nothing is
    stored.
    """
    require_agent(agent)
    active: Turn | None = None
    with atomic_until(deadline):
        session, earlier = lock_for_message(session_id, client_message_id or "")
        if earlier:
            return _accepted_earlier(session_id, *earlier)
        image_fields = message_images(session, images)
        events: list[LoggedEvent] = []
        if interrupt and (active := _active_turn(session)):
            events += end_as_cancelled(session, active)
        turn_id = new_id() if replaces else None
        new = replace_turn(session, require_replaceable(session, replaces), by=turn_id) if replaces and turn_id else []
        new += first_agent(session)
        # A plan decides which agent works until it ends.
        if agent and agent != session.current_agent and current_subtask(session) is None:
            new.append(switch_agent(session, agent, reason="User requested", confidence="high", by_user=True))
        fields: dict[str, Any] = {"before": new, "images": image_fields, "client_message_id": client_message_id}
        if steer and (turn := _steerable_turn(session)):
            accepted = steer_message(session, turn, content, **fields)
        else:
            accepted = queue_message(session, content, **fields, turn_id=turn_id, api_key=api_key)
        events += accepted.events
        if interrupt:
            events += put_first(session)
    if active:
        metrics.turn_ended(active, TurnStatus.CANCELLED)
    return replace(accepted, events=events)


def retry_turn(turn_id: uuid.UUID, *, deadline: float = math.inf) -> AcceptedMessage:
    """Queue a new turn for the messages of a session's newest turn, which has ended, instead of that turn.

    Raises Turn.DoesNotExist, Rejected when the turn cannot be replaced, and TooLate.
    """
    turn = Turn.objects.get(pk=turn_id)
    messages = list(turn.messages.filter(role=MessageRole.USER, withdrawn=False).order_by("number"))
    if not messages:
        raise Rejected(ErrorCode.NOT_REPLACEABLE, REPLACED)
    content = "\n\n".join(message.content for message in messages)
    if len(content) > MAX_MESSAGE_LENGTH:
        text = f"The messages of the turn are longer than {MAX_MESSAGE_LENGTH:,} characters together."
        raise Rejected(ErrorCode.INVALID_FIELD, text)
    images = dict.fromkeys(uuid.UUID(image["image_id"]) for message in messages for image in message.images or ())
    return accept_message(
        turn.session_id, content, images=list(images), replaces=messages[0].pk, api_key=turn.api_key, deadline=deadline
    )


def edit_message(session_id: uuid.UUID, message_id: uuid.UUID, content: str, *, deadline: float = math.inf) -> Change:
    """Change the text of a waiting message. Raises Rejected and TooLate."""
    with atomic_until(deadline):
        session = log.lock(session_id)
        message = _waiting_message(session, message_id)
        message.content = content
        message.save(update_fields=["content"])
        edited = turn_event(EventKind.MESSAGE_EDITED, message.turn_id, message_id=str(message_id), content=content)
        events = log.append(session, [edited])
    return Change(events=events)


def withdraw_message(session_id: uuid.UUID, message_id: uuid.UUID, *, deadline: float = math.inf) -> Change:
    """Withdraw a waiting message. Its turn is cancelled unless it has another message. Raises Rejected and TooLate.

    The row is kept, but neither models nor clients get it again.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        message = _waiting_message(session, message_id)
        message.withdrawn = True
        message.save(update_fields=["withdrawn"])
        turn = message.turn
        if message.steered:
            withdraw_unread(message)
        new = [turn_event(EventKind.MESSAGE_WITHDRAWN, turn.pk, message_id=str(message_id))]
        if turn.messages.filter(role=MessageRole.USER, withdrawn=False).exists():
            return Change(events=log.append(session, new))
        events = log.append(session, [*new, cancel_waiting(turn)])
        ready = next_ready_turn(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def _waiting_message(session: Session, message_id: uuid.UUID) -> Message:
    messages = session.messages.filter(pk=message_id, role=MessageRole.USER, withdrawn=False)
    message = messages.select_related("turn").first()
    if message is None:
        raise Rejected(ErrorCode.MESSAGE_NOT_FOUND, f"Message `{message_id}` does not exist in this session.")
    is_unread = message.steered and message.read_number is None and message.turn.status in OPEN_STATUSES
    if not is_unread and (message.turn.status != TurnStatus.QUEUED or message.turn.attempt):
        text = "This message is already being answered. Stop its turn, or send another message."
        raise Rejected(ErrorCode.MESSAGE_BEGUN, text)
    return message


def _accepted_earlier(
    session_id: uuid.UUID, message_id: uuid.UUID, turn_id: uuid.UUID, number: int, is_steered: bool
) -> AcceptedMessage:
    return AcceptedMessage(
        session_id=session_id,
        message_id=message_id,
        turn_id=turn_id,
        # The event that queued it follows the one that announced it. A steered message was not queued.
        number=number + (not is_steered),
        repeated=True,
    )


def _active_turn(session: Session) -> Turn | None:
    """Return the session's open turn that was claimed at least once; it may be queued again now."""
    return session.turns.filter(status__in=OPEN_STATUSES, attempt__gt=0).order_by("position").first()


def _steerable_turn(session: Session) -> Turn | None:
    """Return the open turn whose next step can read another message: the active one, or else the one that is next."""
    # The request of a completion is its whole conversation.
    turn = None if session.is_completion else first_open_turn(session.pk)
    return turn if turn and turn.unread < MAX_UNREAD else None


def waiting_messages(session_id: uuid.UUID) -> list[Message]:
    """Return the user's messages that no step can have read, the next one first."""
    rows = Message.objects.filter(session_id=session_id, role=MessageRole.USER, withdrawn=False)
    is_queued = Q(turn__status=TurnStatus.QUEUED, turn__attempt=0)
    is_unread = Q(steered=True, read_number=None, turn__status__in=OPEN_STATUSES)
    return list(rows.filter(is_queued | is_unread).order_by("turn__position", "number"))
