"""Workers, and which of them are alive."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Worker(models.Model):
    """A worker process and its heartbeat, which /health and the admin read."""

    name = models.CharField(primary_key=True, max_length=200)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    running_turns = models.PositiveIntegerField(default=0)

    #: A worker without a heartbeat for this long counts as dead.
    HEARTBEAT_TIMEOUT = timedelta(seconds=15)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(seen_at__gte=F("started_at")), name="worker_seen_after_it_started")
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def alive(cls) -> "models.QuerySet[Worker]":
        """Return the workers with a recent heartbeat."""
        return cls._default_manager.filter(seen_at__gt=timezone.now() - cls.HEARTBEAT_TIMEOUT)
