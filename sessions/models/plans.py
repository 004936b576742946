"""Plans that models have proposed, and their sub-tasks: the rows behind the pure values of `agents.plans`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from agents import plans
from sessions.models.conversation import Session
from sessions.models.fields import new_id, one_of
from sessions.models.tools import ToolCall


class PlanStatus(models.TextChoices):
    #: Proposed; its approval waits for a person.
    DRAFT = "draft"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    #: Something failed, and nothing is left that can be done without it.
    FAILED = "failed"
    #: Rejected, never answered, replaced by another one, or stopped.
    CANCELLED = "cancelled"


ACTIVE_PLANS = (PlanStatus.DRAFT, PlanStatus.IN_PROGRESS)


class SubTaskStatus(models.TextChoices):
    """The words of `agents.plans.Status`, as a column takes them."""

    PENDING = plans.Status.PENDING.value
    IN_PROGRESS = plans.Status.IN_PROGRESS.value
    COMPLETED = plans.Status.COMPLETED.value
    FAILED = plans.Status.FAILED.value
    SKIPPED = plans.Status.SKIPPED.value


class Plan(models.Model):
    """What an agent proposed to do in several sub-tasks, and how far it is."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="plans")
    call = models.OneToOneField(ToolCall, on_delete=models.CASCADE, related_name="plan", help_text="The proposal.")
    agent = models.CharField(max_length=64, help_text="Who proposed it, and goes on when it is over.")
    goal = models.TextField(blank=True)
    status = models.CharField(max_length=16, choices=PlanStatus, default=PlanStatus.DRAFT)
    approved_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of("status", PlanStatus, "plan_status_known"),
            models.UniqueConstraint(
                fields=["session"], condition=Q(status__in=ACTIVE_PLANS), name="plan_one_active_in_session"
            ),
            models.CheckConstraint(
                condition=Q(status__in=ACTIVE_PLANS, finished_at__isnull=True)
                | ~Q(status__in=ACTIVE_PLANS) & Q(finished_at__isnull=False),
                name="plan_finished_at_only_when_finished",
            ),
            models.CheckConstraint(
                condition=Q(status=PlanStatus.DRAFT, approved_at__isnull=True)
                | Q(status=PlanStatus.CANCELLED)
                | ~Q(status__in=[PlanStatus.DRAFT, PlanStatus.CANCELLED]) & Q(approved_at__isnull=False),
                name="plan_runs_only_when_approved",
            ),
        ]

    def __str__(self) -> str:
        return f"plan {self.id} ({self.status})"


class SubTask(models.Model):
    """One piece of work of a plan, for one agent."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="subtasks", db_index=False)
    key = models.CharField(max_length=100, help_text="The id that the model gave it.")
    position = models.PositiveIntegerField()
    description = models.TextField()
    agent = models.CharField(max_length=64)
    dependencies = models.JSONField(default=list, help_text="Keys of those that must be done first.")
    estimated_time = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=16, choices=SubTaskStatus, default=SubTaskStatus.PENDING)
    result = models.TextField(blank=True, help_text="What its agent reported, or why it failed.")
    steps = models.PositiveIntegerField(default=0, help_text="Model calls that finished.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of("status", SubTaskStatus, "subtask_status_known"),
            models.UniqueConstraint(fields=["plan", "position"], name="subtask_position_unique"),
            models.UniqueConstraint(fields=["plan", "key"], name="subtask_key_unique"),
            models.UniqueConstraint(
                fields=["plan"], condition=Q(status=SubTaskStatus.IN_PROGRESS), name="subtask_one_in_progress_in_plan"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} ({self.status})"
