"""The agent of a session: chosen by the user, by routing, by a plan or by another agent.

Only this module writes the choice. It never changes a turn.
"""

import math
import uuid
from dataclasses import replace

from django.conf import settings

from agents.roles import ROLES, UNASSIGNED, UNIVERSAL
from llm import catalog
from sessions.database import atomic_until
from sessions.events import log
from sessions.events.log import NewEvent
from sessions.models import EventKind, Session
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change
from sessions.statements import save
from sessions.turns.rows import current_subtask


def switch_agent(
    session: Session,
    agent: str,
    *,
    reason: str,
    confidence: str,
    turn_id: uuid.UUID | None = None,
    by_user: bool = False,
    pinned: bool = False,
) -> NewEvent:
    """Set the agent of a locked session. Return the event.

    Later messages are not routed after a user's choice of any agent but the orchestrator, or with `pinned`.
    """
    before, session.current_agent = session.current_agent, agent
    session.pinned = pinned or (by_user and agent != UNASSIGNED)
    save(session, "current_agent", "pinned")
    return _announcement(before, agent, reason=reason, confidence=confidence, turn_id=turn_id)


def _announcement(
    before: str, agent: str, *, reason: str, confidence: str, turn_id: uuid.UUID | None = None
) -> NewEvent:
    payload = {"from_agent": before, "to_agent": agent, "reason": reason, "confidence": confidence}
    return NewEvent(kind=EventKind.AGENT_SWITCHED, turn_id=turn_id, payload=payload)


def choose_agent(session_id: uuid.UUID, agent: str, *, reason: str | None = None, deadline: float = math.inf) -> Change:
    """Set the agent that answers from now on. The agent that answers already is announced again, and nothing changes.

    Raises Rejected for an unknown agent and while a plan decides which agent works, and TooLate.
    """
    require_agent(agent)
    with atomic_until(deadline):
        session = log.lock(session_id)
        if current_subtask(session):
            text = "A plan in progress decides which agent works. Stop it, or wait until it ends."
            raise Rejected(ErrorCode.PLAN_IN_PROGRESS, text)
        reason = reason or f"User requested switch to {agent}"
        if agent == session.current_agent:
            new = _announcement(agent, agent, reason=reason, confidence="high")
        else:
            new = switch_agent(session, agent, reason=reason, confidence="high", by_user=True)
        events = log.append(session, [replace(new, payload={**new.payload, "by_user": True})])
    return Change(events=events)


def is_single_agent() -> bool:
    """Return whether one agent answers all messages: by the operator's setting, or because the model cannot choose."""
    return settings.CODELAB_AGENTS == "single" or (
        settings.CODELAB_AGENTS == "auto" and catalog.is_scripted(settings.CODELAB_MODEL)
    )


def is_routed(current: str) -> bool:
    """Return whether an agent may be chosen for a message to a session whose agent is `current`.

    Where the scripted model answers, only the orchestrator chooses, and a session has it by its user's choice.
    """
    return not is_single_agent() or (settings.CODELAB_AGENTS == "auto" and current == UNASSIGNED)


def first_agent(session: Session) -> list[NewEvent]:
    """Set the only agent of a new session in single-agent mode. Return the events."""
    if session.current_agent != UNASSIGNED or not is_single_agent():
        return []
    reason = "Single-agent mode: only Universal agent available"
    return [switch_agent(session, UNIVERSAL.name, reason=reason, confidence="high")]


def require_agent(name: str | None) -> None:
    if name is not None and name not in ROLES:
        raise Rejected(ErrorCode.UNKNOWN_AGENT, f"Agent `{name[:64]}` does not exist. Available: {', '.join(ROLES)}.")
