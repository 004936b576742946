"""Sessions as a whole: open, change the title and the mode.

Verbs that write events are one transaction each, under the session's lock. Every look-up is by owner, so this module
never reveals that a session of another user exists.
"""

import math
import re
import uuid
from collections.abc import Sequence

from agents.policy import Mode
from agents.roles import UNASSIGNED
from sessions.database import atomic_until
from sessions.events import log
from sessions.events.log import NewEvent
from sessions.models import EventKind, Project, Session, new_id
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change

#: Sessions that a user keeps at the top of the list.
MAX_PINNED = 100


def open_in_project(project: Project, client_tools: Sequence[str]) -> Session:
    """Create a session in a project for a client with these tools. Its key is its id, which the client uses."""
    key = new_id()
    return Session.objects.create(
        id=key,
        key=str(key),
        owner_id=project.owner_id,
        project=project,
        current_agent=UNASSIGNED,
        client_tools=list(client_tools),
    )


def open_in_folder(owner_id: int, folder: str, key: str | None = None) -> Session:
    """Create a session in the project of a folder, which is created on first use; or return the one with this key."""
    if key and (existing := owned_session(owner_id, key)):
        return existing
    projects = Project.objects.filter(owner_id=owner_id, workspace_path=folder)
    project = projects.order_by("pk").first()
    if project is None:
        name = re.split(r"[/\\]", folder.rstrip("/\\"))[-1] or folder
        project = Project.objects.create(owner_id=owner_id, name=name[:255], workspace_path=folder)
    if key is None:
        return open_in_project(project, [])
    fields = {"current_agent": UNASSIGNED, "project": project}
    return Session.objects.get_or_create(owner_id=owner_id, key=key, defaults=fields)[0]


def change_session(
    session_id: uuid.UUID,
    *,
    title: str | None = None,
    mode: Mode | None = None,
    pinned: bool | None = None,
    deadline: float = math.inf,
) -> Change:
    """Change the title, the mode or the pin; None leaves one as it is. A mode applies from the next tool call on.

    Raises Rejected and TooLate.
    """
    with atomic_until(deadline):
        session = log.lock(session_id)
        if pinned is not None and pinned != session.is_pinned:
            _pin(session, pinned)
        if title is not None and session.awaits_title:
            # A model does not replace what the user has written.
            session.awaits_title = False
            session.save(update_fields=["awaits_title"])
        payload = {"title": session.title if title is None else title, "mode": str(mode or session.mode)}
        if payload == {"title": session.title, "mode": session.mode}:
            return Change()
        session.title, session.mode = payload["title"], payload["mode"]
        session.save(update_fields=["title", "mode"])
        events = log.append(session, [NewEvent(kind=EventKind.SESSION_CHANGED, payload=payload)])
    return Change(events=events)


def _pin(session: Session, pinned: bool) -> None:
    """Keep a session at the top of the list, or no more. No event: it would count as a use, and change the order."""
    if pinned and Session.objects.filter(owner_id=session.owner_id, is_pinned=True).count() >= MAX_PINNED:
        text = f"You have pinned {MAX_PINNED} sessions, which is the most. Unpin one first."
        raise Rejected(ErrorCode.TOO_MANY_PINNED, text)
    Session.objects.filter(pk=session.pk).update(is_pinned=pinned)


def owned_session(owner_id: int, key: str) -> Session | None:
    """Return the owner's session with this key. Another user's session looks like a missing one."""
    return Session.objects.filter(owner_id=owner_id, key=key).first()


def open_session(owner_id: int, key: str) -> Session:
    """Return the owner's session with this key, created on first use."""
    return Session.objects.get_or_create(owner_id=owner_id, key=key, defaults={"current_agent": UNASSIGNED})[0]


def set_client_plans(session_id: uuid.UUID, supported: bool) -> None:
    """Set whether the session's client can show and answer plans, from the next step on."""
    Session.objects.filter(pk=session_id).exclude(client_plans=supported).update(client_plans=supported)
