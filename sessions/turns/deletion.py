"""Deletes sessions: at once for everybody who could see them, and their rows in pieces later.

A session may have a million events and gigabytes of images. One transaction for all of them would hold its locks for
minutes. So `delete_session` only marks it: no look-up finds it, no verb can lock it, and its owner can use its key
again. Then small transactions delete what belongs to it, in the process that marked it, or in `tidy` if that one dies.
"""

import math
import time
import uuid
from typing import Any

from django.db import models, transaction
from django.db.models import F, Value
from django.db.models.functions import Cast, Concat, Now

from sessions import metrics
from sessions.database import atomic_until
from sessions.events import log
from sessions.events.log import LoggedEvent, NewEvent
from sessions.models import (
    OPEN_STATUSES,
    Approval,
    Completion,
    Event,
    EventKind,
    Image,
    Message,
    ModelCall,
    Plan,
    PromptPiece,
    Replay,
    Session,
    SubTask,
    Summary,
    ToolCall,
    ToolDefinitions,
    Turn,
    TurnStatus,
    Workspace,
)
from sessions.results import Change
from sessions.turns.transitions import end_as_cancelled
from sessions.upkeep import pieces

#: What belongs to a session, with the path to it, and how many rows one transaction deletes. What others refer to comes
#: after them. An image has up to 5 MiB, a completion up to 16.
OWNED: tuple[tuple[type[models.Model], str, int], ...] = (
    (Event, "session", 2000),
    (Replay, "session", 100),
    (Image, "session", 20),
    (PromptPiece, "session", 500),
    (Message, "session", 500),
    (Summary, "session", 500),
    (SubTask, "plan__session", 500),
    (Plan, "session", 500),
    (Approval, "call__turn__session", 500),
    (ToolCall, "turn__session", 500),
    (ToolDefinitions, "session", 1),
    (Completion, "turn__session", 10),
    (Turn, "session", 500),
)
PIECE_CALLS = 1000
#: What the key of a deleted session begins with.
DELETED_PREFIX = "deleted-"


def delete_session(session_id: uuid.UUID, *, deadline: float = math.inf) -> Change:
    """Cancel a session's open turns and mark it as deleted. Raises TooLate.

    The returned events cannot be read in the log. A client that misses them finds that the session does not exist.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        # Messages that no step has read go with the session, and get no turn of their own.
        session.turns.filter(status__in=OPEN_STATUSES, unread__gt=0).update(unread=0)
        open_turns = list(session.turns.filter(status__in=OPEN_STATUSES).order_by("position"))
        events: list[LoggedEvent] = []
        for turn in open_turns:
            events += end_as_cancelled(session, turn)
        payload = {"session_id": session.key}
        events += log.append(session, [NewEvent(kind=EventKind.SESSION_DELETED, payload=payload)])
        # The rows stay; what providers said may repeat the conversation.
        session.model_calls.exclude(detail="").update(detail="")
        _mark(Session.objects.filter(pk=session_id))
    for turn in open_turns:
        metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events)


def delete_sessions_of(owner_id: int) -> None:
    """Delete all sessions and workspaces of a user, who is being deleted."""
    mine = Session.objects.filter(owner=owner_id)
    for session_id in list(mine.filter(turns__status__in=OPEN_STATUSES).distinct().values_list("pk", flat=True)):
        delete_session(session_id)
    _mark(mine)
    Workspace.objects.filter(owner=owner_id).delete()


def _mark(sessions: models.QuerySet[Session]) -> None:
    key = Concat(Value(DELETED_PREFIX), Cast(F("id"), models.TextField()))
    sessions.update(deleted_at=Now(), key=key, title="", hidden=True, project=None, workspace=None)


def delete_piece(session_id: uuid.UUID) -> bool:
    """Delete some rows of a session that is marked; return whether there may be more."""
    if not Session.every.filter(pk=session_id, deleted_at__isnull=False).exists():
        return False
    for model, path, size in OWNED:
        keys = _keys(model, path, session_id, size)
        if keys:
            with transaction.atomic():
                model._base_manager.filter(pk__in=keys).delete()
            return True
    if calls := _keys(ModelCall, "session", session_id, PIECE_CALLS):
        ModelCall.objects.filter(pk__in=calls).update(session=None, detail="", prompt=None, answer=None)
        return True
    with transaction.atomic():
        Session.every.filter(pk=session_id).delete()
    return False


def _keys(model: type[models.Model], path: str, session_id: uuid.UUID, size: int) -> list[Any]:
    rows = model._base_manager.filter(**{path: session_id})
    if model is Event:
        # The newest first: what a reader still finds of the log has no gap.
        rows = rows.order_by("-number")
    return list(rows.values_list("pk", flat=True)[:size])


def delete_rows(session_id: uuid.UUID, deadline: float) -> None:
    """Delete the rows of a session that is marked, until the deadline."""
    while time.monotonic() < deadline and delete_piece(session_id):
        pass


def delete_marked_sessions(deadline: float) -> int:
    """Delete the rows of sessions that were marked by a process that has died since; return how many sessions."""
    skipped = pieces.postponed("deletion")
    marked = Session.every.filter(deleted_at__isnull=False).order_by("deleted_at")
    deleted = 0
    for session_id in list(marked.exclude(pk__in=skipped).values_list("pk", flat=True)[:1000]):
        if time.monotonic() > deadline:
            break
        try:
            delete_rows(session_id, deadline)
        except Exception as error:
            pieces.postpone("deletion", session_id, error)
        else:
            deleted += 1
    return deleted
