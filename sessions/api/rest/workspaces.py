"""The workspace of a session, for clients without a socket of `codelab.v2`."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from sessions.api.commands import announce, store_timeout
from sessions.api.http import ERRORS, ErrorOut, no_session, owner, require_clean, session_of, texts_in
from sessions.database import in_thread
from sessions.models import Session
from sessions.protocol.codes import MAX_KEY_LENGTH
from sessions.protocol.workspace import Workspace
from sessions.turns import workspaces
from sessions.turns.sessions import open_session

router = Router(tags=["sessions"])

PATH = "/sessions/{path:session_id}/workspace"


class WorkspaceOut(Workspace, Schema):
    """The workspace as the client has sent it. Fields that were left out are missing."""

    session_id: str
    hash: str | None = None


@router.get(PATH, response={200: WorkspaceOut, **ERRORS}, exclude_none=True)
async def get_workspace(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """Return the workspace of a session; without `hash` when no client has described one."""
    session = await session_of(request, session_id)
    return await in_thread(_describe)(session)


@router.put(PATH, response={200: WorkspaceOut, 413: ErrorOut, **ERRORS}, exclude_none=True)
async def set_workspace(request: HttpRequest, session_id: str, workspace: Workspace) -> dict[str, Any]:
    """Replace the workspace of a session, which is created on first use. Agents know it from the next turn on."""
    if not 0 < len(session_id) <= MAX_KEY_LENGTH:
        raise no_session(session_id)
    require_clean(session_id, *texts_in(workspace.stored()))
    async with store_timeout() as deadline:
        session = await in_thread(open_session)(owner(request).pk, session_id)
        change = await in_thread(workspaces.set_workspace)(session.pk, workspace, deadline=deadline)
        announce(change)
        await in_thread(session.refresh_from_db)()
        return await in_thread(_describe)(session)


def _describe(session: Session) -> dict[str, Any]:
    summary = workspaces.summary_of(session)
    data = workspaces.data_of(session.workspace_id)
    return {**(data or {}), "session_id": session.key, "hash": summary and summary["hash"]}
