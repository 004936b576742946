"""Budgets: the one kind of row that staff make and change here. Its history has each change, and who made it.

What is spent and reserved is counted by `sessions.billing.budgets` and never written from here.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from sessions.admin.display import shortened
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import ReadOnlyAdmin
from sessions.models import Budget

#: Whose budget it is stays as it is: what was spent of it is theirs.
SCOPES = ("owner", "api_key", "session")
CHANGED = ("limit", "period")


class BudgetAdmin(ReadOnlyAdmin):
    list_display = ("created", "whose", "limit", "period", "spent_so_far", "reserved", "period_start")
    list_filter = ("period", CreatedFilter)
    list_select_related = ("owner", "session")
    search_fields = ("owner__username", "session__key", "api_key")
    autocomplete_fields = ("owner", "session")
    sortable_by = ("created",)
    fields = (*SCOPES, *CHANGED, "spent", "reserved", "period_start", "created_at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may, may limit what anybody spends."""
        return bool(request.user.has_perm("agent_sessions.add_budget"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The limit and its period."""
        return bool(request.user.has_perm("agent_sessions.change_budget"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Without it nothing is limited; calls under way go on."""
        return bool(request.user.has_perm("agent_sessions.delete_budget"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask for what a new one needs; show all of one that is there."""
        return self.fields if obj else (*SCOPES, *CHANGED)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Let no more be changed than the limit and its period."""
        return [name for name in super().get_readonly_fields(request, obj) if name not in CHANGED] if obj else []

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """Store what was changed and nothing else: meanwhile calls are counted."""
        if change:
            obj.save(update_fields=CHANGED)
        else:
            super().save_model(request, obj, form, change)

    @admin.display(description="for")
    def whose(self, budget: Budget) -> str:
        """Return whom or what it is for."""
        if budget.session:
            return f"session {shortened(budget.session)}"
        return f"API key {budget.api_key}" if budget.api_key else f"user {shortened(budget.owner)}"

    @admin.display(description="spent, US dollars")
    def spent_so_far(self, budget: Budget) -> str:
        """Return what was spent in this period."""
        return f"{budget.spent_now(timezone.now()).normalize():f}"
