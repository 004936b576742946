"""The order of a session's queued turns. Callers have locked the session."""

from django.db import connection
from django.db.models import F

from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import EventKind, Session, TurnStatus

#: Moves turns to positions.
_MOVE = """
    UPDATE agent_sessions_turn AS turn SET position = new.position
    FROM unnest(%s::uuid[], %s::bigint[]) AS new(id, position) WHERE turn.id = new.id
"""


def put_first(session: Session) -> list[LoggedEvent]:
    """Put the turn that was queued last before all that have not begun, each of which takes its neighbour's position.

    A turn that has begun, and is queued again, stays before it: what it has said is found behind its position.
    """
    waiting = session.turns.filter(status=TurnStatus.QUEUED, attempt=0)
    turns = list(waiting.order_by("position"))
    if len(turns) == 1:
        return []
    *others, last = turns
    positions = [turn.position for turn in turns]
    # Positions are unique, so all turns first move to some that no turn can have.
    waiting.update(position=-F("position"))
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, [[turn.pk for turn in (last, *others)], positions])
    turn_ids = [str(turn.pk) for turn in (last, *others)]
    return log.append(
        session, [NewEvent(kind=EventKind.QUEUE_CHANGED, turn_id=last.pk, payload={"turn_ids": turn_ids})]
    )
