"""Approvals and the standing rules of users: what waits for an answer, and who answered.

The only page that continues a session: staff with the permission to change approvals may answer pending ones, through
the same function as all other clients. The first answer wins; a later one changes nothing.
"""

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest

from sessions.admin.display import badge, block, column, pretty_arguments, shorten, text_column
from sessions.admin.filters import CreatedFilter
from sessions.admin.operators import ActingAdmin, reason_of
from sessions.admin.pages import ReadOnlyAdmin, SearchableAdmin
from sessions.models import Approval, Via
from sessions.results import Change
from sessions.turns import approvals


class ApprovalAdmin(ActingAdmin, SearchableAdmin):
    id_paths, session_path = ("pk", "call", "call__turn"), "call__turn__session"
    search_help_text = "Id of an approval, call or turn, part of a session's key, or name of its owner."
    list_display = ("created", "state", "the_tool", "why", "conversation_of", "owner_of", "decided_by", "via")
    list_filter = ("status", "via", CreatedFilter)
    list_select_related = ("call__turn__session__owner", "decided_by")
    sortable_by = ("created",)
    actions: Sequence[Any] | None = ("approve", "reject", "withdraw")
    page_actions = {"approve": "Approve as shown", "reject": "Reject", "withdraw": "Withdraw"}
    fields = (
        *("id", "conversation_of", "owner_of", "state", "the_tool", "arguments_block", "why", "digest"),
        *("decided_by", "via", "the_feedback", "created_at", "expires_at", "decided_at"),
    )
    the_feedback = text_column("feedback")

    @admin.action(description="Approve the selected calls as shown", permissions=["answer"])
    def approve(self, request: HttpRequest, chosen: QuerySet[Approval]) -> Any:
        """Approve the calls of the selected rows."""
        return self._answer(request, chosen, approve=True)

    @admin.action(description="Reject the selected calls; the model is told the reason", permissions=["answer"])
    def reject(self, request: HttpRequest, chosen: QuerySet[Approval]) -> Any:
        """Reject the calls of the selected rows."""
        return self._answer(request, chosen, approve=False)

    @admin.action(description="Withdraw the selected approvals: the calls do not run", permissions=["answer"])
    def withdraw(self, request: HttpRequest, chosen: QuerySet[Approval]) -> Any:
        """Take the questions of the selected rows back."""
        by = cast(AbstractBaseUser, request.user).pk

        def take_back(approval: Approval) -> Change:
            return approvals.withdraw(approval.call.turn.session_id, approval.call.call_id, by=by, via=Via.ADMIN)

        return self.act(request, chosen.select_related("call__turn"), "Withdrew the approval", take_back)

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may answer in place of a session's owner."""
        return request.user.has_perm("agent_sessions.change_approval")

    def _answer(self, request: HttpRequest, chosen: QuerySet[Approval], *, approve: bool) -> Any:
        by, feedback = cast(AbstractBaseUser, request.user).pk, "" if approve else reason_of(request)
        decision = approvals.Decision(approve=approve, feedback=feedback, by=by, via=Via.ADMIN)

        def answer(approval: Approval) -> Change:
            return approvals.decide(approval.call.turn.session_id, approval.call.call_id, decision)

        done = "Approved the call" if approve else "Rejected the call"
        return self.act(request, chosen.select_related("call__turn"), done, answer)

    state = column("status", lambda approval: badge(approval.status))
    the_tool = column("tool", lambda approval: shorten(approval.call.tool))
    why = column(
        "reason for approval", lambda approval: f"{shorten(approval.call.reason)} ({shorten(approval.call.rule)})"
    )
    arguments_block = column("arguments", lambda approval: block(pretty_arguments(approval.call.arguments)))


class PolicyRuleAdmin(ReadOnlyAdmin):
    list_display = ("created", "owner", "session", "effect", "the_tool", "the_subject", "the_agent")
    list_filter = ("effect", CreatedFilter)
    list_select_related = ("owner", "session")
    sortable_by = ("created",)
    fields = ("id", "owner", "session", "effect", "the_tool", "the_subject", "the_agent", "folder", "created_at")
    the_tool = text_column("tool")
    the_subject = text_column("subject")
    the_agent = text_column("agent")
