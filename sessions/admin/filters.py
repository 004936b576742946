"""Filters of lists: by age, or by a value that recent rows have.

Every view of a list computes the choices, so this must never read or count a whole table.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from sessions.admin.display import shorten

#: Newest rows whose values a filter offers. DISTINCT would read the whole table.
MAX_SAMPLED_ROWS = 2_000


class CreatedFilter(admin.SimpleListFilter):
    """Filters by age, by ids: they begin with the time and, unlike `created_at`, have an index."""

    title = "created"
    parameter_name = "created"
    ages = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1), "month": timedelta(30)}

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [(name, f"In the last {name}") for name in self.ages]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows younger than the chosen age."""
        age = self.ages.get(self.value() or "")
        if age is None:
            return queryset
        milliseconds = int((timezone.now() - age).timestamp() * 1000)
        return queryset.filter(pk__gte=uuid.UUID(int=milliseconds << 80))


class RecentValuesFilter(admin.SimpleListFilter):
    """Filters by a value that recent rows have in a column."""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        """Return the distinct values of the newest rows."""
        newest = model_admin.model._default_manager.order_by("-pk")
        values = set(newest.values_list(self.parameter_name, flat=True)[:MAX_SAMPLED_ROWS])
        return [(value, shorten(value)) for value in sorted(values | {self.value() or ""}) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with the chosen value."""
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class AgentFilter(RecentValuesFilter):
    title, parameter_name = "agent", "current_agent"


class ModelFilter(RecentValuesFilter):
    title = parameter_name = "model"


class ErrorCodeFilter(RecentValuesFilter):
    title, parameter_name = "error code", "error_code"


class ToolFilter(RecentValuesFilter):
    title = parameter_name = "tool"
