"""Budgets: the only rows of sessions that staff create and change. Their history shows each change and its author.

`sessions.billing.budgets` counts what is spent and reserved; the admin never writes it.
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from sessions.admin.display import column, shorten
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import ReadOnlyAdmin
from sessions.models import Budget

#: Fixed once a budget exists: what was spent belongs to this user, key or session.
SCOPE_FIELDS = ("owner", "api_key", "session")
EDITABLE_FIELDS = ("limit", "period")


class BudgetAdmin(ReadOnlyAdmin):
    list_display = ("created", "scope", "limit", "period", "spending", "reserved", "period_start")
    list_filter = ("period", CreatedFilter)
    list_select_related = ("owner", "session")
    search_fields = ("owner__username", "session__key", "api_key")
    raw_id_fields = ("owner", "session")
    sortable_by = ("created",)
    fields = (*SCOPE_FIELDS, *EDITABLE_FIELDS, "spent", "reserved", "period_start", "created_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may limit spending."""
        return bool(request.user.has_perm("agent_sessions.add_budget"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may change a limit and its period."""
        return bool(request.user.has_perm("agent_sessions.change_budget"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may remove a limit. Running calls continue."""
        return bool(request.user.has_perm("agent_sessions.delete_budget"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields of the form, or all fields of an existing budget."""
        return self.fields if obj else (*SCOPE_FIELDS, *EDITABLE_FIELDS)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields of an existing budget but its limit and its period."""
        names = super().get_readonly_fields(request, obj) if obj else []
        return [name for name in names if name not in EDITABLE_FIELDS]

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """Write only the editable fields: calls change the others at the same time."""
        if change:
            obj.save(update_fields=EDITABLE_FIELDS)
        else:
            super().save_model(request, obj, form, change)

    @admin.display(description="for")
    def scope(self, budget: Budget) -> str:
        if budget.session:
            return f"session {shorten(budget.session)}"
        return f"API key {budget.api_key}" if budget.api_key else f"user {shorten(budget.owner)}"

    spending = column("spent (US dollars)", lambda budget: f"{budget.spending(timezone.now()).normalize():f}")
