"""What models were sent, in pieces that later requests of the same session repeat, and replays of it."""

from django.conf import settings
from django.db import models

from sessions.models.conversation import Session
from sessions.models.fields import new_id, one_of
from sessions.models.ledger import ModelCall

#: Of a digest: the beginning of a SHA-256.
DIGEST_BYTES = 16


class PromptPiece(models.Model):
    """A part of a request to a model: a message, all that stands around the messages, or a list of other pieces.

    A session has a piece once, whichever calls were sent it (`ModelCall.prompt`).
    """

    pk = models.CompositePrimaryKey("session_id", "digest")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+", db_index=False)
    digest = models.BinaryField(max_length=DIGEST_BYTES, help_text="Beginning of the SHA-256 of the text as sent.")
    text = models.TextField(help_text="With the id of each image of the session in the place of its data.")

    class Meta:
        default_permissions = ()
        permissions = [
            ("view_prompts", "Can see what models were sent"),
            ("replay_prompts", "Can send a prompt to another model, at the operator's expense"),
        ]

    def __str__(self) -> str:
        return f"piece {bytes(self.digest).hex()}"


class ReplayStatus(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Replay(models.Model):
    """A prompt that staff has sent to another model, to compare the answers. Nothing in the session changes."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+")
    call = models.ForeignKey(
        ModelCall, on_delete=models.CASCADE, related_name="replays", help_text="The call whose prompt it is."
    )
    model = models.CharField(max_length=200)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    status = models.CharField(max_length=16, choices=ReplayStatus, default=ReplayStatus.QUEUED)
    worker = models.CharField(max_length=200, blank=True, db_default="", default="", help_text="Who sends it.")
    max_cost = models.DecimalField(
        max_digits=14, decimal_places=8, null=True, help_text="US dollars, as it was shown before. Empty: unknown."
    )
    answer = models.TextField(blank=True)
    tool_calls = models.JSONField(default=list)
    error = models.TextField(blank=True, help_text="Why it failed, in the provider's own words if it said any.")
    result = models.ForeignKey(
        ModelCall, on_delete=models.SET_NULL, null=True, related_name="+", help_text="The call in the ledger."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [one_of("status", ReplayStatus, "replay_status_known")]

    def __str__(self) -> str:
        return f"replay with {self.model} ({self.status})"
