"""Filters of lists: by age, or by a value that recent rows have.

Every view of a list computes the choices, so this must never read or count a whole table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import F, Model, OrderBy, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from sessions.admin.display import format_utc, shorten
from sessions.admin.home.window import first_id
from sessions.models import OPEN_STATUSES

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
        return queryset.filter(pk__gte=first_id(timezone.now() - age))


class PeriodFilter(admin.ListFilter):
    """Filters by a period, by ids. Plots link to the rows of theirs."""

    title = "period"
    names = ("from", "until")

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: admin.ModelAdmin[Any]
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.names:
            if values := params.pop(name, None):
                self.used_parameters[name] = _moment(values[-1])

    def has_output(self) -> bool:
        """Return whether a period was chosen."""
        return bool(self.used_parameters)

    def expected_parameters(self) -> list[str | None]:
        return list(self.names)

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Yield a way out of the period, and the period."""
        out = changelist.get_query_string(remove=list(self.names))
        yield {"selected": False, "query_string": out, "display": "All"}
        ends: list[Any] = [self.used_parameters.get(name) for name in self.names]
        text = " – ".join(format_utc(end) if end else "" for end in ends)
        yield {"selected": True, "query_string": changelist.get_query_string(), "display": text}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the period."""
        for lookup, name in (("pk__gte", "from"), ("pk__lt", "until")):
            moment: Any = self.used_parameters.get(name)
            if moment:
                queryset = queryset.filter(**{lookup: first_id(moment)})
        return queryset


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        first_id(moment)
    except (ValueError, OverflowError) as error:
        raise IncorrectLookupParameters(error) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class OpenFilter(admin.SimpleListFilter):
    """Filters turns that have not ended."""

    title, parameter_name = "open", "open"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        return [("1", "Not ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the open turns."""
        return queryset.filter(status__in=OPEN_STATUSES) if self.value() else queryset


class SlowestFilter(admin.SimpleListFilter):
    """Shows the slowest turns first. Only within a period: all turns would have to be sorted."""

    title, parameter_name = "slowest", "slowest"
    columns = {"first_token": "first_token_at", "duration": "finished_at"}

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        is_possible = "from" in request.GET or self.value()
        return [("first_token", "First token"), ("duration", "Whole answer")] if is_possible else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the turns that have come so far."""
        column = self.columns.get(self.value() or "")
        return queryset.filter(**{f"{column}__isnull": False}) if column else queryset

    @classmethod
    def ordering(cls, request: HttpRequest) -> list[OrderBy] | None:
        """Return the order of the chosen list, if any."""
        column = cls.columns.get(request.GET.get("slowest", ""))
        return [(F(column) - F("created_at")).desc()] if column and "from" in request.GET else None


class RecentValuesFilter(admin.SimpleListFilter):
    """Filters by a value that recent rows have in a column."""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Iterable[tuple[str, str]]:
        """Return the distinct values of the newest rows."""
        newest = model_admin.model._default_manager.order_by("-pk")
        values = set(newest.values_list(self.parameter_name, flat=True)[:MAX_SAMPLED_ROWS])
        return [(value, shorten(value)) for value in sorted(values | {self.value() or ""}) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with the chosen value."""
        if "\0" in (self.value() or ""):
            raise IncorrectLookupParameters("PostgreSQL has no texts with this character.")
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class AgentFilter(RecentValuesFilter):
    title, parameter_name = "agent", "current_agent"


class ModelFilter(RecentValuesFilter):
    title = parameter_name = "model"


class CallAgentFilter(RecentValuesFilter):
    title = parameter_name = "agent"


class ErrorCodeFilter(RecentValuesFilter):
    title, parameter_name = "error code", "error_code"


class ClientSessionFilter(RecentValuesFilter):
    title, parameter_name = "client's session", "client_session"


class ClientAgentFilter(RecentValuesFilter):
    title, parameter_name = "client's agent", "client_agent"


class ToolFilter(RecentValuesFilter):
    title = parameter_name = "tool"
