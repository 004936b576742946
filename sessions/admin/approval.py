"""Approvals and the standing rules of users: what waits for an answer, and who answered.

The only page that continues a session: staff with the permission to change approvals may answer pending ones, through
the same function as all other clients. The first answer wins; a later one changes nothing.
"""

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest

from sessions import broker
from sessions.admin.display import badge, block, column, pretty_arguments, shorten, text_column
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import ReadOnlyAdmin, SearchableAdmin
from sessions.errors import ToolCallRejected
from sessions.models import Approval, Via
from sessions.turns import approvals


class ApprovalAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "call", "call__turn"), "call__turn__session"
    search_help_text = "Id of an approval, call or turn, part of a session's key, or name of its owner."
    list_display = ("created", "state", "the_tool", "why", "conversation_of", "owner_of", "decided_by", "via")
    list_filter = ("status", "via", CreatedFilter)
    list_select_related = ("call__turn__session__owner", "decided_by")
    sortable_by = ("created",)
    actions: Sequence[Any] | None = ("approve", "reject")
    fields = (
        *("id", "conversation_of", "owner_of", "state", "the_tool", "arguments_block", "why", "digest"),
        *("decided_by", "via", "the_feedback", "created_at", "expires_at", "decided_at"),
    )
    the_feedback = text_column("feedback")

    @admin.action(description="Approve the selected calls as shown", permissions=["answer"])
    def approve(self, request: HttpRequest, chosen: QuerySet[Approval]) -> None:
        """Approve the calls of the selected rows."""
        self._answer(request, chosen, approve=True)

    @admin.action(description="Reject the selected calls", permissions=["answer"])
    def reject(self, request: HttpRequest, chosen: QuerySet[Approval]) -> None:
        """Reject the calls of the selected rows."""
        self._answer(request, chosen, approve=False)

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may answer in place of a session's owner."""
        return request.user.has_perm("agent_sessions.change_approval")

    def _answer(self, request: HttpRequest, chosen: QuerySet[Approval], *, approve: bool) -> None:
        by = cast(AbstractBaseUser, request.user).pk
        count = 0
        for approval in chosen.select_related("call__turn"):
            answer = approvals.Decision(approve=approve, by=by, via=Via.ADMIN)
            try:
                change = approvals.decide(approval.call.turn.session_id, approval.call.call_id, answer)
            except ToolCallRejected as error:
                self.message_user(request, str(error), messages.WARNING)
                continue
            count += 1
            if change.ready:
                # Not published: clients of a session with an open turn read the log every 2 s anyway.
                broker.enqueue_turn(change.ready)
        self.message_user(request, f"Approvals answered: {count}.")

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
