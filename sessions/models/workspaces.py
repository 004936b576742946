"""The workspaces of users, as their clients describe them."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from sessions.models.fields import new_id


class Workspace(models.Model):
    """A project and machine at one moment. All sessions of a user in the same state of it share the row.

    Rows never change. One that no session and no open turn uses is deleted.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # As the owner of a session: code that deletes a user deletes these first.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="workspaces",
        db_index=False,
    )
    hash = models.CharField(max_length=64, help_text="SHA-256 of the data, in hexadecimal.")
    summary = models.JSONField(help_text="What events and snapshots say of it.")
    data = models.JSONField(help_text="What the client sent.")
    used_at = models.DateTimeField(db_default=Now(), help_text="When a client last sent it.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "hash"], name="workspace_once_for_owner")]
        indexes = [models.Index(fields=["used_at"], name="workspace_by_use")]

    def __str__(self) -> str:
        return f"workspace {self.hash[:12]}"
