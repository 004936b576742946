"""Replacing the newest turn of a session: its user edits and sends again, regenerates the answer, or retries.

The messages of a replaced turn leave the conversation: neither models nor clients get them again. Rows, events and the
ledger keep them. Callers have locked the session and queue the new turn in the same transaction. This module never
changes a turn's status, and what the tools of the turn have done stays done.
"""

import uuid
from typing import Any

from sessions.events.log import NewEvent
from sessions.models import OPEN_STATUSES, EventKind, MessageRole, Session, Summary, Turn
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.turns import plans, summaries
from sessions.turns.transitions import turn_event

NOT_NEWEST = "Only the newest message of a session can be replaced, once its turn has ended."
REPLACED = "The message was withdrawn or replaced already."


def require_replaceable(session: Session, message_id: uuid.UUID) -> Turn:
    """Return the ended turn that a message began. Raises Rejected unless it is the newest one and none is open."""
    message = session.messages.filter(pk=message_id, role=MessageRole.USER).select_related("turn").first()
    if message is None:
        raise Rejected(ErrorCode.MESSAGE_NOT_FOUND, f"Message `{message_id}` does not exist in this session.")
    if message.withdrawn:
        raise Rejected(ErrorCode.NOT_REPLACEABLE, REPLACED)
    turn = message.turn
    messages = session.messages.filter(role=MessageRole.USER, withdrawn=False)
    is_first = not messages.filter(turn=turn, number__lt=message.number).exists()
    is_newest = not messages.filter(turn__position__gt=turn.position).exists()
    if not (is_first and is_newest) or session.turns.filter(status__in=OPEN_STATUSES).exists():
        raise Rejected(ErrorCode.NOT_REPLACEABLE, NOT_NEWEST)
    return turn


def replace_turn(session: Session, turn: Turn, by: uuid.UUID) -> list[NewEvent]:
    """Take the messages of an ended turn out of the conversation. Return the events, which come before its successor's.

    A plan that the turn proposed ends with it. A summary that stands for a message of the turn does not count any more.
    """
    plan = plans.active(session)
    events = plans.cancel(session) if plan and plan.call.turn_id == turn.pk else []
    if turn.messages.exclude(surroundings="").exists():
        # The model has to be told again of the facts that stood beside them.
        session.shown_facts = None
        session.save(update_fields=["shown_facts"])
    turn.messages.update(withdrawn=True)
    Turn.objects.filter(pk=turn.pk).update(replaced_by=by)
    details: dict[str, Any] = {}
    if Summary.objects.filter(session=session, until_place__0=turn.position).delete()[0]:
        details["summary"] = summaries.newest_state(session)
    return [*events, turn_event(EventKind.TURN_REPLACED, turn.pk, by=str(by), **details)]
