"""Budgets: how much may be spent on models for a user, by an API key, in a session; and what is set aside of them.

What is spent grows by what calls have cost; what is reserved is what calls under way may still cost. The two together
never exceed the limit by a new call (`sessions.billing.budgets`).
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
    TOTAL = "total", "once and for all"
    DAY = "day", "a day (UTC)"
    MONTH = "month", "a calendar month (UTC)"

    def begins(self, now: datetime) -> datetime | None:
        """Return when the period that `now` is in began; None where it is the only one."""
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return {Period.TOTAL: None, Period.DAY: midnight, Period.MONTH: midnight.replace(day=1)}[self]

    def ends(self, now: datetime) -> datetime | None:
        """Return when the next period begins, if there is one."""
        begun = self.begins(now)
        if begun is None:
            return None
        return begun + timedelta(days=1) if self is Period.DAY else (begun + timedelta(days=32)).replace(day=1)


def _dollars(**more: object) -> models.DecimalField[Decimal | int, Decimal]:
    return models.DecimalField(max_digits=18, decimal_places=8, **more)  # type: ignore[arg-type]


class Budget(models.Model):
    """A limit on what models may cost, for one user, API key or session."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="budgets",
        help_text="For all that this user does.",
    )
    # A number and no reference: who has which key is the business of whoever makes callers.
    api_key = models.UUIDField(
        null=True, blank=True, db_index=True, help_text="For all turns that this API key begins: the id of the key."
    )
    session = models.ForeignKey(
        Session, on_delete=models.CASCADE, null=True, blank=True, related_name="budgets", help_text="For one session."
    )
    limit = _dollars(help_text="US dollars in a period.")
    period = models.CharField(max_length=8, choices=Period, default=Period.TOTAL)
    spent = _dollars(default=0, editable=False, help_text="US dollars since the period began.")
    reserved = _dollars(default=0, editable=False, help_text="US dollars set aside for calls under way.")
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
                violation_error_message="A budget is for a user, an API key or a session: exactly one of them.",
            ),
            models.CheckConstraint(
                condition=Q(limit__gte=0, spent__gte=0, reserved__gte=0), name="budget_not_below_zero"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.limit.normalize():f} US dollars, {self.get_period_display()}"

    def spent_now(self, now: datetime) -> Decimal:
        """Return what was spent in the period that `now` is in."""
        begun = Period(self.period).begins(now)
        return Decimal() if begun and self.period_start < begun else self.spent


class Reservation(models.Model):
    """What an attempt at a turn has set aside of a budget for its model call; gone when the call is paid."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="reservations")
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="reservations", db_index=False)
    attempt = models.PositiveIntegerField()
    model = models.CharField(max_length=200)
    amount = _dollars(help_text="US dollars that may be spent at most.")
    input_tokens = models.PositiveBigIntegerField(help_text="Estimated.")
    input_cost = _dollars(help_text="US dollars that are spent at least, once the model has read its input.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["turn", "attempt", "budget"], name="reservation_one_of_attempt"),
        ]

    def __str__(self) -> str:
        return f"{self.amount.normalize():f} US dollars for {self.model}"
