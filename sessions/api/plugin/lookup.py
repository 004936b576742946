"""Finds the project, session or tool call of a path by its owner. Another user's row looks like a missing one."""

from __future__ import annotations

import uuid

from django.http import HttpRequest

from sessions.api.http import no_session, owner
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Project, Session, ToolCall
from sessions.protocol import ErrorCode


async def project_of(request: HttpRequest, project_id: uuid.UUID) -> Project:
    """Return the caller's project."""
    mine = Project.objects.filter(pk=project_id, owner_id=owner(request).pk)
    project = await in_thread(mine.first)()
    if project is None:
        raise NotFound(ErrorCode.PROJECT_NOT_FOUND, f"You have no project `{project_id}`.")
    return project


async def chat_of(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> Session:
    """Return a session of the caller's project."""
    mine = Session.objects.filter(pk=session_id, project_id=project_id, owner_id=owner(request).pk)
    session = await in_thread(mine.first)()
    if session is None:
        raise no_session(str(session_id))
    return session


async def call_of(request: HttpRequest, project_id: uuid.UUID, call: uuid.UUID) -> ToolCall:
    """Return a tool call in one of the project's sessions, with its turn and session."""
    mine = ToolCall.objects.filter(
        pk=call, turn__session__project_id=project_id, turn__session__owner_id=owner(request).pk
    )
    row = await in_thread(mine.select_related("turn__session").first)()
    if row is None:
        raise NotFound(ErrorCode.UNKNOWN_TOOL_CALL, f"Tool call `{call}` does not exist in this project.")
    return row
