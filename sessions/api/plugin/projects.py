"""Projects: the folders that the plugin's users work on."""

from __future__ import annotations

import uuid

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router

from sessions.api.commands import announce, store_timeout
from sessions.api.http import ERRORS, owner, require_clean
from sessions.api.plugin.lookup import project_of
from sessions.api.plugin.schemas import Deleted, ProjectChange, ProjectIn, ProjectList, ProjectOut, user_id
from sessions.database import in_thread
from sessions.models import Project, Session
from sessions.turns.sessions import delete_session

router = Router()

ONE = "/projects/{uuid:project_id}/"


@router.post("/projects/", response={200: ProjectOut, **ERRORS})
async def create_project(request: HttpRequest, body: ProjectIn) -> ProjectOut:
    """Make a project, or return the one of the same name and folder: the plugin posts again after a lost answer."""
    require_clean(body.name, body.workspace_path or "")

    def make() -> Project:
        mine = Project.objects.filter(owner_id=owner(request).pk, name=body.name, workspace_path=body.workspace_path)
        return mine.order_by("pk").first() or Project.objects.create(
            owner_id=owner(request).pk, name=body.name, workspace_path=body.workspace_path
        )

    return _project(await in_thread(make)())


@router.get("/projects/", response={200: ProjectList, **ERRORS})
async def list_projects(request: HttpRequest) -> ProjectList:
    """List the caller's projects, the newest first."""

    def read() -> list[ProjectOut]:
        return [_project(row) for row in Project.objects.filter(owner_id=owner(request).pk).order_by("-pk")]

    projects = await in_thread(read)()
    return ProjectList(projects=projects, total=len(projects))


@router.get(ONE, response={200: ProjectOut, **ERRORS})
async def get_project(request: HttpRequest, project_id: uuid.UUID) -> ProjectOut:
    """Return a project."""
    return _project(await project_of(request, project_id))


@router.put(ONE, response={200: ProjectOut, **ERRORS})
async def change_project(request: HttpRequest, project_id: uuid.UUID, body: ProjectChange) -> ProjectOut:
    """Change the name or the folder; what is left out stays."""
    require_clean(body.name or "", body.workspace_path or "")
    project = await project_of(request, project_id)
    if body.name is not None:
        project.name = body.name
    if "workspace_path" in body.model_fields_set:
        project.workspace_path = body.workspace_path
    project.updated_at = timezone.now()
    changed = {"name": project.name, "workspace_path": project.workspace_path, "updated_at": project.updated_at}
    await in_thread(Project.objects.filter(pk=project.pk).update)(**changed)
    return _project(project)


@router.delete(ONE, response={200: Deleted, **ERRORS})
async def delete_project(request: HttpRequest, project_id: uuid.UUID) -> Deleted:
    """Delete a project with its sessions; what is under way in them is stopped first."""
    project = await project_of(request, project_id)
    for session in await in_thread(list)(Session.objects.filter(project=project)):
        async with store_timeout() as deadline:
            change = await in_thread(delete_session)(session.pk, deadline=deadline)
        announce(change)
    await in_thread(Project.objects.filter(pk=project.pk).delete)()
    return Deleted(id=project_id)


def _project(row: Project) -> ProjectOut:
    return ProjectOut(
        id=row.pk,
        user_id=user_id(row.owner_id),
        name=row.name,
        workspace_path=row.workspace_path,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
