"""Projects: the folders that the plugin's users work on."""

import uuid
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router

from sessions.api.commands import store_change
from sessions.api.http import ERRORS, Deleted, owner, require_clean
from sessions.api.plugin.lookup import chat_of, project_of
from sessions.api.plugin.schemas import ProjectChange, ProjectIn, ProjectList, ProjectOut
from sessions.database import in_thread
from sessions.models import Project, Session
from sessions.turns.deletion import delete_session

router = Router()

ONE = "/projects/{uuid:project_id}/"


@router.post("/projects/", response={200: ProjectOut, **ERRORS})
async def create_project(request: HttpRequest, body: ProjectIn) -> Project:
    """Create a project, or return the one of the same name and folder, as the plugin retries after a lost answer."""
    require_clean(body.name, body.workspace_path or "")
    fields = {"owner_id": owner(request).pk, "name": body.name, "workspace_path": body.workspace_path}
    existing = await in_thread(Project.objects.filter(**fields).order_by("pk").first)()
    return existing or await in_thread(Project.objects.create)(**fields)


@router.get("/projects/", response={200: ProjectList, **ERRORS})
async def list_projects(request: HttpRequest) -> dict[str, Any]:
    """List the caller's projects, the newest first."""
    projects = await in_thread(list)(Project.objects.filter(owner_id=owner(request).pk).order_by("-pk"))
    return {"projects": projects, "total": len(projects)}


@router.get(ONE, response={200: ProjectOut, **ERRORS})
async def get_project(request: HttpRequest, project_id: uuid.UUID) -> Project:
    """Return a project."""
    return await project_of(request, project_id)


@router.put(ONE, response={200: ProjectOut, **ERRORS})
async def change_project(request: HttpRequest, project_id: uuid.UUID, body: ProjectChange) -> Project:
    """Change the name or the folder; absent fields stay unchanged."""
    require_clean(body.name or "", body.workspace_path or "")
    project = await project_of(request, project_id)
    project.name = project.name if body.name is None else body.name
    if "workspace_path" in body.model_fields_set:
        project.workspace_path = body.workspace_path
    project.updated_at = timezone.now()
    fields = {"name": project.name, "workspace_path": project.workspace_path, "updated_at": project.updated_at}
    # Unlike `save`, `update` does not bring back a project that was deleted meanwhile.
    await in_thread(Project.objects.filter(pk=project.pk).update)(**fields)
    return project


@router.delete(ONE, response={200: Deleted, **ERRORS})
async def delete_project(request: HttpRequest, project_id: uuid.UUID) -> Deleted:
    """Stop the turns in a project's sessions and delete it with its sessions."""
    project = await project_of(request, project_id)
    for session_id in await in_thread(list)(Session.objects.filter(project=project).values_list("pk", flat=True)):
        await store_change(chat_of(request, project_id, session_id), delete_session)
    await in_thread(Project.objects.filter(pk=project.pk).delete)()
    return Deleted(id=project_id)
