"""Worker and web processes, and which of them are alive."""

from datetime import timedelta

from django.db import models
from django.db.models.functions import Now


class Worker(models.Model):
    """A worker process and its heartbeat, which /health and the admin read."""

    name = models.CharField(primary_key=True, max_length=200)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    running_turns = models.PositiveIntegerField(default=0)
    lock_key = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Advisory lock that its heartbeat holds while it lives. Empty: only its leases tell that it died.",
    )
    unlocked_since = models.DateTimeField(
        null=True, blank=True, help_text="When another worker first found the lock free."
    )
    looked_at = models.DateTimeField(
        null=True, blank=True, help_text="When it last searched for turns that no worker runs."
    )
    clock_skew = models.DurationField(
        null=True, blank=True, help_text="How far its clock is ahead of the database's. Nothing depends on its clock."
    )

    providers = models.JSONField(
        null=True, blank=True, help_text="Names of the model providers that it has keys for. Empty: it did not say."
    )

    host = models.CharField(max_length=253, blank=True, db_default="", help_text="Machine or container.")
    version = models.CharField(max_length=32, blank=True, db_default="", help_text="Version of the service.")
    memory = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Bytes of main memory that it occupies. Empty: its system does not say."
    )

    #: A worker without a heartbeat for this long counts as dead.
    HEARTBEAT_TIMEOUT = timedelta(seconds=15)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def alive(cls) -> "models.QuerySet[Worker]":
        """Return the workers with a recent heartbeat."""
        return cls._default_manager.filter(seen_at__gt=Now() - cls.HEARTBEAT_TIMEOUT)


class WebProcess(models.Model):
    """A web process whose clients have tool calls; it renews its row while they do."""

    id = models.UUIDField(primary_key=True, editable=False)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return str(self.pk)
