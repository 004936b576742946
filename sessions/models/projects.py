"""Folders that users work on, for clients that have projects."""

from django.conf import settings
from django.db import models

from sessions.models.fields import new_id


class Project(models.Model):
    """A folder that a user works on, with its sessions. Only clients that have projects create them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="projects")
    name = models.CharField(max_length=255)
    workspace_path = models.CharField(max_length=500, null=True, blank=True)  # noqa: DJ001 (clients know null)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
