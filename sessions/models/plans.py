"""Plans that models propose, and their sub-tasks: the rows behind the pure values of `agents.plans`."""

from django.db import models
from django.db.models import Q

from agents import plans
from sessions.models.conversation import Session
from sessions.models.fields import new_id, one_of
from sessions.models.tools import ToolCall


class PlanStatus(models.TextChoices):
    #: Proposed; waits for approval.
    DRAFT = "draft"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    #: A sub-task failed, and all others are finished or depend on it.
    FAILED = "failed"
    #: Rejected, expired, replaced by another plan, or stopped.
    CANCELLED = "cancelled"


ACTIVE_PLANS = (PlanStatus.DRAFT, PlanStatus.IN_PROGRESS)


class SubTaskStatus(models.TextChoices):
    """`agents.plans.Status` as choices of a column."""

    PENDING = plans.Status.PENDING.value
    IN_PROGRESS = plans.Status.IN_PROGRESS.value
    COMPLETED = plans.Status.COMPLETED.value
    FAILED = plans.Status.FAILED.value
    SKIPPED = plans.Status.SKIPPED.value


class Plan(models.Model):
    """Work that an agent proposed, divided into sub-tasks, and its progress."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="plans")
    call = models.OneToOneField(ToolCall, on_delete=models.CASCADE, related_name="plan", help_text="The proposal.")
    agent = models.CharField(max_length=64, help_text="Agent that proposed it and continues after it.")
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
    """One piece of a plan's work, for one agent."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="subtasks", db_index=False)
    key = models.CharField(max_length=100, help_text="Id that the model chose.")
    position = models.PositiveIntegerField()
    description = models.TextField()
    agent = models.CharField(max_length=64)
    dependencies = models.JSONField(default=list, help_text="Keys of the sub-tasks that must be completed first.")
    estimated_time = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=16, choices=SubTaskStatus, default=SubTaskStatus.PENDING)
    result = models.TextField(blank=True, help_text="Report of its agent, or why it failed.")
    steps = models.PositiveIntegerField(default=0, help_text="Finished model calls.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "sub-task"
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
