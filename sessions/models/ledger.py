"""The ledger: what was asked of which model, what it took and what it cost. It holds no words, only figures.

A row outlives its session: what was used counts against its user's limits also when the conversation is deleted.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models

from sessions.models.conversation import Session, Turn
from sessions.models.fields import new_id, one_of


class ModelCallOutcome(models.TextChoices):
    OK = "ok"
    #: Before its model had said anything, or without a use for what it said.
    FAILED = "failed"
    #: It was cut in the middle; what arrived was shown.
    TRUNCATED = "truncated"
    #: Its user stopped the turn.
    CANCELLED = "cancelled"
    #: Its worker went away, so another attempt asks again.
    LOST = "lost"


class ModelCallPurpose(models.TextChoices):
    #: A step of a turn: what its agent says and asks for.
    STEP = "step"
    #: Which agent is to answer.
    ROUTING = "routing"


class ModelCall(models.Model):
    """A request to a model. The row is written when the call has ended, in whatever way."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="model_calls", db_index=False
    )
    session = models.ForeignKey(
        Session, on_delete=models.SET_NULL, null=True, blank=True, related_name="model_calls", db_index=False
    )
    turn = models.ForeignKey(Turn, on_delete=models.SET_NULL, null=True, blank=True, related_name="model_calls")
    purpose = models.CharField(max_length=16, choices=ModelCallPurpose, default=ModelCallPurpose.STEP)
    attempt = models.PositiveIntegerField()
    step = models.PositiveIntegerField(help_text="Steps of the turn that had finished before.")
    number = models.PositiveIntegerField(
        default=1, db_default=1, help_text="Which call of the step it was: those before it failed."
    )
    agent = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    outcome = models.CharField(max_length=16, choices=ModelCallOutcome)
    error_code = models.CharField(max_length=64, blank=True)
    has_tool_calls = models.BooleanField(default=False)
    input_tokens = models.PositiveBigIntegerField(default=0, help_text="All that was read, cached tokens included.")
    output_tokens = models.PositiveBigIntegerField(default=0, help_text="All that was said, reasoning included.")
    cached_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    estimated = models.BooleanField(
        default=False, db_default=False, help_text="The provider told no count: it is a guess from the texts' length."
    )
    cost = models.DecimalField(
        max_digits=14, decimal_places=8, null=True, blank=True, help_text="US dollars; empty where no price is known."
    )
    own_key = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Its user has brought a key, and so pays for it; it costs us nothing.",
    )
    started_at = models.DateTimeField()
    duration = models.DurationField()
    first_token_after = models.DurationField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of("outcome", ModelCallOutcome, "model_call_outcome_known"),
            one_of("purpose", ModelCallPurpose, "model_call_purpose_known"),
        ]
        # The ids begin with the time, so both are in the order of time.
        indexes = [
            models.Index(fields=["session", "id"], name="model_call_by_session"),
            models.Index(fields=["owner", "id"], name="model_call_by_owner"),
        ]

    def __str__(self) -> str:
        return f"call of {self.model} ({self.outcome})"
