"""Sessions and their turns."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.policy import Mode
from sessions.models.fields import new_id, one_of
from sessions.models.projects import Project


class TurnStatus(models.TextChoices):
    #: Accepted; waits for a worker or for earlier turns of its session.
    QUEUED = "queued"
    #: A worker holds a lease on it.
    RUNNING = "running"
    #: Waits for a client's tools or a user's decision; occupies no worker.
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATUSES = (TurnStatus.QUEUED, TurnStatus.RUNNING, TurnStatus.WAITING)

#: Longest title of a session, in characters.
MAX_TITLE_LENGTH = 200

MODES = [(mode.value, mode.value) for mode in Mode]


class ExistingSessions(models.Manager["Session"]):
    """The sessions that are not deleted."""

    def get_queryset(self) -> models.QuerySet["Session"]:
        return super().get_queryset().filter(deleted_at__isnull=True)


class Session(models.Model):
    """A conversation between a user and agents."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Deleting a user marks the sessions as deleted (`sessions.turns.deletion`). Their rows go later, in pieces.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.DO_NOTHING, db_constraint=False, related_name="agent_sessions"
    )
    key = models.CharField(max_length=128, help_text="Name that the client chose. Unique per owner.")
    title = models.CharField(max_length=MAX_TITLE_LENGTH, blank=True)
    awaits_title = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="The title is the beginning of the first message, until a model has written one.",
    )
    is_pinned = models.BooleanField(
        default=False, db_default=False, help_text="The user keeps it at the top of the list."
    )
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, blank=True, related_name="sessions")
    #: Where its client works now.
    workspace = models.ForeignKey(
        "Workspace", models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False, related_name="+"
    )
    shown_facts = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="Digests of the facts about the workspace that its model was told last.",
    )
    current_agent = models.CharField(max_length=64)
    pinned = models.BooleanField(
        default=False, db_default=False, help_text="The user chose the agent, so messages are not routed."
    )
    mode = models.CharField(
        max_length=16,
        choices=MODES,
        default=Mode.ASK.value,
        db_default=Mode.ASK.value,
        help_text="What agents may do without asking.",
    )
    client_tools = models.JSONField(
        null=True, blank=True, help_text="Tools that the client can run. Empty: those that every client can run."
    )
    tool_definitions = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="Hash of the tools that the client defines itself (`ToolDefinitions`). Empty: none.",
    )
    client_plans = models.BooleanField(
        default=False, db_default=False, help_text="A client of the session can show and answer plans."
    )
    hidden = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Holds one request of the OpenAI-compatible API. Lists omit it, and it is deleted after a while.",
    )
    is_summarized = models.BooleanField(default=False, db_default=False, help_text="Summaries stand for old messages.")
    last_number = models.BigIntegerField(default=0, editable=False, help_text="Number of the newest event.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="No user sees it any more; its rows are being deleted."
    )

    objects = ExistingSessions()
    #: Those that are deleted, too, until their rows are gone.
    every = models.Manager["Session"]()

    class Meta:
        permissions = [("export_session", "Can export sessions of all users")]
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="session_key_unique_for_owner"),
            models.CheckConstraint(condition=~Q(key=""), name="session_key_not_empty"),
            models.CheckConstraint(condition=Q(mode__in=[mode for mode, _ in MODES]), name="session_mode_known"),
        ]
        indexes = [
            models.Index(fields=["owner", "-updated_at"], name="session_by_owner_recent"),
            # Retention asks for the oldest of each kind.
            models.Index(fields=["updated_at"], condition=Q(hidden=True), name="session_hidden"),
            models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="session_deleted"),
            models.Index(fields=["updated_at"], condition=Q(hidden=False), name="session_by_age"),
            models.Index(fields=["owner", "-updated_at"], condition=Q(is_pinned=True), name="session_pinned"),
            models.Index(fields=["workspace"], condition=Q(workspace__isnull=False), name="session_with_workspace"),
        ]

    def __str__(self) -> str:
        return self.title or self.key

    @property
    def is_completion(self) -> bool:
        """Whether it holds one request of the OpenAI-compatible API and no conversation goes on in it."""
        return self.hidden


class Turn(models.Model):
    """One run of an agent: from a user's message to the answer, over as many model calls and attempts as it takes."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="turns", db_index=False)
    status = models.CharField(max_length=16, choices=TurnStatus, default=TurnStatus.QUEUED)
    position = models.BigIntegerField(
        help_text="Turns run in this order: the number of the event that queued them, unless moved to the front."
    )
    attempt = models.PositiveIntegerField(
        default=0, help_text="Increases with each claim; earlier attempts cannot write."
    )
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    queued_at = models.DateTimeField(db_default=Now(), help_text="When it last began to wait for a worker.")
    #: As it was when the turn began: all of its model calls are told the same. Afterwards the row may be gone.
    workspace = models.ForeignKey(
        "Workspace", models.DO_NOTHING, null=True, blank=True, db_constraint=False, db_index=False, related_name="+"
    )
    api_key = models.UUIDField("API key", null=True, blank=True, help_text="Started the turn; the key's budgets apply.")
    worker = models.CharField(max_length=200, blank=True, help_text="Worker that runs it, or ran it last.")
    task = models.CharField(
        "Celery task",
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Brought it to that worker. Empty: the worker found it.",
    )
    model = models.CharField(max_length=200, blank=True)
    lost_leases = models.PositiveIntegerField(default=0, help_text="Consecutive attempts lost without a result.")
    retry_at = models.DateTimeField(
        null=True, blank=True, help_text="The model's provider asked to wait: no worker takes the turn before."
    )
    retry_wait = models.DurationField(
        default=timedelta,
        db_default=timedelta(),
        help_text="How long the model's provider has made the turn wait, in all.",
    )
    recover_after = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="No worker tries to recover it before."
    )
    recovery_failures = models.PositiveSmallIntegerField(
        default=0, db_default=0, editable=False, help_text="Consecutive tries to recover it that raised an error."
    )
    steps = models.PositiveIntegerField(default=0, help_text="Finished model calls.")
    plan_steps = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Finished model calls of sub-tasks, which have their own limit."
    )
    unread = models.PositiveIntegerField(
        default=0, db_default=0, editable=False, help_text="Steered messages that no step has read yet."
    )
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cached_tokens = models.PositiveBigIntegerField(null=True, blank=True, help_text="Part of the input tokens.")
    cost = models.DecimalField(
        max_digits=14,
        decimal_places=8,
        null=True,
        blank=True,
        help_text="US dollars, of all model calls. Empty: a price is unknown.",
    )
    error_code = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True, help_text="When the latest attempt began.")
    worked = models.DurationField(
        "working time",
        default=timedelta,
        db_default=timedelta(),
        help_text="Duration of all attempts, without waiting for tools. In a plan: since the sub-task began.",
    )
    first_token_at = models.DateTimeField(null=True, blank=True)
    waiting_since = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    replaced_by = models.UUIDField(
        null=True, blank=True, editable=False, help_text="Turn that took its place: its messages no longer count."
    )
    folded = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Its text deltas were compacted into few events."
    )
    compaction = models.JSONField(
        null=True,
        editable=False,
        help_text="How far the compaction of a long turn has come. Empty: not begun, or done.",
    )

    # What `sessions.turns.rows` reads beside the row: the sub-task at work, the session's next turn, what the model
    # calls so far have used; for new tool calls also the rules of the user (as JSON), which of their ids exist in the
    # session, and the calls of the turn's newest answers, the newest first.
    subtask: Any = None
    following: uuid.UUID | None = None
    calls_cost = Decimal()
    calls_cached_tokens = 0
    has_unpriced_calls = False
    rules: tuple[tuple[str, ...], ...] = ()
    existing_calls: frozenset[str] = frozenset()
    newest_calls: Sequence[list[dict[str, Any]]] = ()

    class Meta:
        permissions = [
            ("cancel_turn", "Can cancel turns of all users"),
            ("retry_turn", "Can retry failed turns of all users"),
            ("requeue_turn", "Can put turns back into the queue"),
        ]
        constraints = [
            one_of("status", TurnStatus, "turn_status_known"),
            models.UniqueConstraint(fields=["session", "position"], name="turn_position_unique"),
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(status__in=[TurnStatus.RUNNING, TurnStatus.WAITING]),
                name="turn_one_active_in_session",
            ),
            models.CheckConstraint(
                condition=Q(status=TurnStatus.RUNNING, lease_expires_at__isnull=False)
                | ~Q(status=TurnStatus.RUNNING) & Q(lease_expires_at__isnull=True),
                name="turn_lease_only_while_running",
            ),
            models.CheckConstraint(
                condition=Q(status__in=OPEN_STATUSES, finished_at__isnull=True)
                | ~Q(status__in=OPEN_STATUSES) & Q(finished_at__isnull=False),
                name="turn_finished_at_only_when_finished",
            ),
            models.CheckConstraint(
                condition=~Q(status=TurnStatus.FAILED) | ~Q(error_code=""), name="turn_failure_has_a_reason"
            ),
        ]
        indexes = [
            # The workers and the metrics ask only for open turns, which are few among millions.
            models.Index(fields=["status", "queued_at"], condition=Q(status__in=OPEN_STATUSES), name="turn_open"),
            # Turns may wait for a day, so that there are many of them.
            models.Index(fields=["waiting_since"], condition=Q(status=TurnStatus.WAITING), name="turn_waiting"),
            models.Index(
                fields=["finished_at"], condition=Q(folded=False, finished_at__isnull=False), name="turn_to_fold"
            ),
            # Operators look for the newest of each reason. They are few, too.
            models.Index(fields=["error_code", "id"], condition=Q(status=TurnStatus.FAILED), name="turn_failed"),
        ]

    def __str__(self) -> str:
        return f"turn {self.id} ({self.status})"
