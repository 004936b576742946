"""Budgets: limits on what models may cost for a user, an API key or a session, and the reservations against them.

`spent` grows by what finished calls cost; `reserved` is what running calls may still cost. A new call never takes the
sum of the two above the limit (`sessions.billing.budgets`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from sessions.models.conversation import Session, Turn
from sessions.models.fields import new_id, one_of


class Period(models.TextChoices):
    TOTAL = "total", "total, never resets"
    DAY = "day", "per day (UTC)"
    MONTH = "month", "per calendar month (UTC)"

    def start(self, now: datetime) -> datetime | None:
        """Return when the period that contains `now` began; None for a period that never resets."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return {Period.TOTAL: None, Period.DAY: midnight, Period.MONTH: midnight.replace(day=1)}[self]

    def end(self, now: datetime) -> datetime | None:
        """Return when the next period begins; None for a period that never resets."""
        start = self.start(now)
        if start is None:
            return None
        return start + timedelta(days=1) if self is Period.DAY else (start + timedelta(days=32)).replace(day=1)


def _dollars(**more: object) -> models.DecimalField[Decimal | int, Decimal]:
    return models.DecimalField(max_digits=18, decimal_places=8, **more)  # type: ignore[arg-type]


class Budget(models.Model):
    """A limit on what models may cost for one user, API key or session."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="budgets",
        help_text="Limits everything that this user does.",
    )
    # Not a foreign key: `codelab.identity` owns API keys, and sessions know callers only.
    api_key = models.UUIDField(
        "API key", null=True, blank=True, db_index=True, help_text="Id of a key. Limits all turns that it starts."
    )
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets", help_text="Limits a session."
    )
    limit = _dollars(help_text="US dollars per period.")
    period = models.CharField(max_length=8, choices=Period, default=Period.TOTAL)
    spent = _dollars(default=0, editable=False, help_text="US dollars since the period began.")
    reserved = _dollars(default=0, editable=False, help_text="US dollars set aside for running calls.")
    period_start = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of("period", Period, "budget_period_known"),
            models.CheckConstraint(
                condition=Q(owner__isnull=False, api_key__isnull=True, session__isnull=True)
                | Q(owner__isnull=True, api_key__isnull=False, session__isnull=True)
                | Q(owner__isnull=True, api_key__isnull=True, session__isnull=False),
                name="budget_has_one_scope",
                violation_error_message="Choose exactly one: a user, an API key or a session.",
            ),
            models.CheckConstraint(
                condition=Q(limit__gte=0, spent__gte=0, reserved__gte=0), name="budget_not_below_zero"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.limit.normalize():f} US dollars, {self.get_period_display()}"

    def spending(self, now: datetime) -> Decimal:
        """Return the US dollars spent in the period that contains `now`."""
        start = Period(self.period).start(now)
        return Decimal() if start and self.period_start < start else self.spent


class Reservation(models.Model):
    """The part of a budget that an attempt sets aside for its model call. Deleted when the call is settled."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="reservations")
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="reservations", db_index=False)
    attempt = models.PositiveIntegerField()
    model = models.CharField(max_length=200)
    amount = _dollars(help_text="Maximum cost of the call in US dollars.")
    input_tokens = models.PositiveBigIntegerField(help_text="Estimated.")
    input_cost = _dollars(help_text="Cost in US dollars once the model has read its input.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["turn", "attempt", "budget"], name="reservation_one_of_attempt")]

    def __str__(self) -> str:
        return f"{self.amount.normalize():f} US dollars for {self.model}"
