"""Finds the project, session or tool call of a path by its owner. Another user's row looks like a missing one."""

import uuid

from django.http import HttpRequest

from sessions.api.http import bind_session, first_of, no_session, owner
from sessions.errors import NotFound
from sessions.models import Project, Session, ToolCall
from sessions.protocol.codes import ErrorCode


async def project_of(request: HttpRequest, project_id: uuid.UUID) -> Project:
    """Return the caller's project."""
    mine = Project.objects.filter(pk=project_id, owner_id=owner(request).pk)
    return await first_of(mine, NotFound(ErrorCode.PROJECT_NOT_FOUND, f"You have no project `{project_id}`."))


async def chat_of(request: HttpRequest, project_id: uuid.UUID, session_id: uuid.UUID) -> Session:
    """Return a session of the caller's project."""
    mine = Session.objects.filter(pk=session_id, project_id=project_id, owner_id=owner(request).pk)
    session = await first_of(mine, no_session(str(session_id)))
    bind_session(session)
    return session


async def call_of(request: HttpRequest, project_id: uuid.UUID, call: uuid.UUID) -> ToolCall:
    """Return a tool call in one of the project's sessions, with its turn and session."""
    session = {"turn__session__project_id": project_id, "turn__session__owner_id": owner(request).pk}
    mine = ToolCall.objects.filter(pk=call, **session).select_related("turn__session")
    text = f"Tool call `{call}` does not exist in this project."
    return await first_of(mine, NotFound(ErrorCode.UNKNOWN_TOOL_CALL, text))
