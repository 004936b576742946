"""The ledger of model calls: model, tokens, duration and cost.

A row outlives its session and its user: usage counts against the user's limits even after the conversation is deleted,
and the operator's bills do not change when a user leaves. It holds no text of users or models but what a provider said
of a failure, and loses that with its session, as well as the names of the pieces of its prompt.
"""

from django.conf import settings
from django.db import models

from sessions.models.conversation import Session, Turn
from sessions.models.fields import MAX_CLIENT_NAME_LENGTH, new_id, one_of


class ModelCallOutcome(models.TextChoices):
    OK = "ok"
    #: The model sent nothing, or nothing that could be used.
    FAILED = "failed"
    #: Cut off in the middle; clients have seen what arrived.
    TRUNCATED = "truncated"
    #: The user stopped the turn.
    CANCELLED = "cancelled"
    #: The worker was lost; another attempt repeats the call.
    LOST = "lost"


class ModelCallPurpose(models.TextChoices):
    #: A step of a turn: text and tool calls of its agent.
    STEP = "step"
    #: The choice of the agent that answers.
    ROUTING = "routing"
    #: A summary of what no longer fits the window.
    SUMMARY = "summary"
    #: A title for the session.
    TITLE = "title"
    #: A prompt that staff has sent to another model. It belongs to no session.
    REPLAY = "replay"


class ModelCall(models.Model):
    """A request to a model. The row is written when the call has ended, with or without success."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="model_calls",
        db_index=False,
    )
    session = models.ForeignKey(
        Session, on_delete=models.SET_NULL, null=True, blank=True, related_name="model_calls", db_index=False
    )
    turn = models.ForeignKey(Turn, on_delete=models.SET_NULL, null=True, blank=True, related_name="model_calls")
    purpose = models.CharField(max_length=16, choices=ModelCallPurpose, default=ModelCallPurpose.STEP)
    attempt = models.PositiveIntegerField()
    task = models.CharField(
        "Celery task", max_length=200, blank=True, default="", db_default="", help_text="Ran the step."
    )
    step = models.PositiveIntegerField(help_text="Steps of the turn that were finished before.")
    number = models.PositiveIntegerField(default=1, db_default=1, help_text="Try number within the step.")
    agent = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    outcome = models.CharField(max_length=16, choices=ModelCallOutcome)
    error_code = models.CharField(max_length=64, blank=True)
    #: May repeat what the user wrote. No API shows it.
    detail = models.TextField(
        blank=True, db_default="", help_text="The provider's own words about a failure. Deleted with the session."
    )
    prompt = models.BinaryField(
        null=True, editable=False, help_text="Names the pieces of what it was sent. Deleted with the session."
    )
    answer = models.UUIDField(null=True, blank=True, editable=False, help_text="Message with its answer.")
    has_tool_calls = models.BooleanField(default=False)
    input_tokens = models.PositiveBigIntegerField(default=0, help_text="All input, including cached tokens.")
    output_tokens = models.PositiveBigIntegerField(default=0, help_text="All output, including reasoning.")
    cached_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    estimated = models.BooleanField(
        default=False, db_default=False, help_text="Estimated from text length; the provider reported no usage."
    )
    cost = models.DecimalField(
        max_digits=14, decimal_places=8, null=True, blank=True, help_text="US dollars. Empty: the price is unknown."
    )
    client_session = models.CharField(
        max_length=MAX_CLIENT_NAME_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Session of the client, as the client names it.",
    )
    client_agent = models.CharField(
        max_length=MAX_CLIENT_NAME_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Agent of the client, as the client names it.",
    )
    own_key = models.BooleanField(
        default=False, db_default=False, help_text="Made with the user's own key and at the user's expense."
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
        # Ids begin with the time, so both indexes are in order of time.
        indexes = [
            models.Index(fields=["session", "id"], name="model_call_by_session"),
            models.Index(fields=["owner", "id"], name="model_call_by_owner"),
            models.Index(
                fields=["owner", "client_session", "id"],
                condition=~models.Q(client_session=""),
                name="model_call_by_client",
            ),
        ]

    def __str__(self) -> str:
        return f"call of {self.model} ({self.outcome})"
