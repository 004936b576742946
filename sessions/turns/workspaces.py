"""The workspace of a session: where its client works, and what its models are told of it.

A row for each state of a workspace, shared by the sessions of a user. A turn keeps the row that its session had when
the turn began, so that all of its model calls begin with the same words.
"""

import math
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from psycopg.types.json import Jsonb

from agents.workspace import current_facts, digests, surroundings
from sessions.database import atomic_until, rows
from sessions.events import log
from sessions.events.log import NewEvent
from sessions.models import OPEN_STATUSES, EventKind, MessageRole, Session, Turn, Workspace, new_id
from sessions.protocol import workspace as protocol
from sessions.results import Change
from sessions.upkeep import pieces

#: Stores a workspace, or finds it. The clock moves within a transaction, so the time also marks this use.
_STORE = """
    INSERT INTO agent_sessions_workspace (id, owner_id, hash, summary, data, used_at)
    VALUES (%s, %s, %s, %s, %s, clock_timestamp())
    ON CONFLICT (owner_id, hash) DO UPDATE SET used_at = clock_timestamp() RETURNING id
"""
#: Deletes a workspace that nothing uses, unless another session has taken it since it was read.
_DELETE_UNUSED = """
    DELETE FROM agent_sessions_workspace WHERE id IN (
        SELECT id FROM agent_sessions_workspace AS old WHERE id = %s AND used_at = %s
        AND NOT EXISTS (SELECT FROM agent_sessions_session WHERE workspace_id = old.id)
        AND NOT EXISTS (
            SELECT FROM agent_sessions_turn
            WHERE workspace_id = old.id AND status IN ('queued', 'running', 'waiting')
        )
        FOR UPDATE SKIP LOCKED
    ) RETURNING id
"""
#: A row without a use is kept for this long, because the transaction that begins to use it may not be committed yet.
UNUSED_RETENTION = timedelta(minutes=1)
#: Rows that a piece of the clean-up deletes; each has up to 200 KiB.
PIECE_WORKSPACES = 100


def set_workspace(session_id: uuid.UUID, workspace: protocol.Workspace, *, deadline: float = math.inf) -> Change:
    """Set the workspace of a session. Nothing changes when it is the same. Raises FrameError and TooLate.

    Models are told of it from the next turn on.
    """
    digest = protocol.hash_of(workspace)
    summary = protocol.summary_of(workspace, digest)
    with atomic_until(deadline):
        session = log.lock(session_id)
        earlier = _hash_and_use(session)
        if earlier and earlier[0] == digest:
            return Change()
        fields = (Jsonb(summary), Jsonb(workspace.stored()))
        before = session.workspace_id
        ((session.workspace_id,),) = rows(_STORE, new_id(), session.owner_id, digest, *fields)
        session.save(update_fields=["workspace"])
        events = log.append(session, [NewEvent(kind=EventKind.WORKSPACE_CHANGED, payload=summary)])
        if earlier:
            rows(_DELETE_UNUSED, before, earlier[1])
    return Change(events=events)


def _hash_and_use(session: Session) -> tuple[str, datetime] | None:
    if session.workspace_id is None:
        return None
    return Workspace.objects.filter(pk=session.workspace_id).values_list("hash", "used_at").first()


def begin_turn(session: Session, turn: Turn) -> None:
    """Give a turn that begins the workspace of its session. Store what has changed in it beside the turn's message.

    The session is locked, and the caller stores the turn. Without a workspace this does nothing.
    """
    if session.workspace_id is None:
        return
    data = Workspace.objects.filter(pk=session.workspace_id).values_list("data", flat=True).first()
    facts = current_facts(data or {})
    if block := surroundings(facts, session.shown_facts):
        # A turn may begin with several messages.
        messages = turn.messages.filter(role=MessageRole.USER, withdrawn=False).order_by("number")
        turn.messages.filter(pk=messages.values("pk")[:1]).update(surroundings=block)
        session.shown_facts = digests(facts)
        session.save(update_fields=["shown_facts"])
    turn.workspace_id = session.workspace_id


def data_of(workspace_id: uuid.UUID | None) -> dict[str, Any] | None:
    """Return what a client said of a workspace."""
    if workspace_id is None:
        return None
    return Workspace.objects.filter(pk=workspace_id).values_list("data", flat=True).first()


def summary_of(session: Session) -> dict[str, Any] | None:
    """Return what clients see of the workspace of a session."""
    if session.workspace_id is None:
        return None
    return Workspace.objects.filter(pk=session.workspace_id).values_list("summary", flat=True).first()


def delete_unused_workspaces(deadline: float) -> int:
    """Delete workspaces that no session and no open turn uses, and that no client has sent for a while."""
    sessions = Session.every.filter(workspace=OuterRef("pk"))
    turns = Turn.objects.filter(workspace=OuterRef("pk"), status__in=OPEN_STATUSES)
    unused = Workspace.objects.filter(used_at__lt=Now() - UNUSED_RETENTION).exclude(Exists(sessions) | Exists(turns))
    return pieces.delete_in_pieces(unused.order_by("used_at"), deadline, size=PIECE_WORKSPACES)
