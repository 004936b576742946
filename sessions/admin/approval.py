"""Approvals, and the standing rules of users: what waits for a person, and who answered what.

The one place in the admin that moves a session on: staff with the right to change approvals may answer those that wait,
by the same verb as everybody else. The first answer wins; one that comes too late changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from sessions import broker
from sessions.admin.display import badge, block, conversation_link, pretty, shortened, shown
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import ReadOnlyAdmin, SearchableAdmin
from sessions.errors import ToolCallRefused
from sessions.models import Approval, Via
from sessions.turns import approvals


class ApprovalAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "call", "call__turn"), "call__turn__session"
    search_help_text = "An id of an approval, a call or a turn, a part of the session's key, or the name of its owner."
    list_display = ("created", "state", "the_tool", "why", "conversation_of", "owner_of", "decided_by", "via")
    list_filter = ("status", "via", CreatedFilter)
    list_select_related = ("call__turn__session__owner", "decided_by")
    sortable_by = ("created",)
    actions: Sequence[Any] | None = ("approve", "reject")
    fields = (
        *("id", "conversation_of", "owner_of", "state", "the_tool", "shown_arguments", "why", "digest"),
        *("decided_by", "via", "the_feedback", "created_at", "expires_at", "decided_at"),
    )
    the_feedback = shown("feedback")

    @admin.action(description="Approve what is shown", permissions=["answer"])
    def approve(self, request: HttpRequest, chosen: QuerySet[Approval]) -> None:
        """Let the calls run."""
        self._answer(request, chosen, approve=True)

    @admin.action(description="Reject", permissions=["answer"])
    def reject(self, request: HttpRequest, chosen: QuerySet[Approval]) -> None:
        """Let the calls not run."""
        self._answer(request, chosen, approve=False)

    def has_answer_permission(self, request: HttpRequest) -> bool:
        """Say whether the caller may answer for a session's owner."""
        return request.user.has_perm("agent_sessions.change_approval")

    def _answer(self, request: HttpRequest, chosen: QuerySet[Approval], *, approve: bool) -> None:
        by = cast(AbstractBaseUser, request.user).pk
        answered = 0
        for approval in chosen.select_related("call__turn"):
            answer = approvals.Answer(approve=approve, by=by, via=Via.ADMIN)
            try:
                change = approvals.decide(approval.call.turn.session_id, approval.call.call_id, answer)
            except ToolCallRefused as error:
                self.message_user(request, str(error), messages.WARNING)
                continue
            answered += 1
            if change.ready:
                # Whoever follows the session looks at the log by himself within 2 s while a turn is open.
                broker.send(change.ready)
        self.message_user(request, f"{answered} answered.")

    @admin.display(description="status")
    def state(self, approval: Approval) -> SafeString:
        """Return the status."""
        return badge(approval.status)

    @admin.display(description="tool")
    def the_tool(self, approval: Approval) -> str:
        """Return which tool it is about."""
        return shortened(approval.call.tool)

    @admin.display(description="why a person is asked")
    def why(self, approval: Approval) -> str:
        """Return the reason and what decided."""
        return f"{shortened(approval.call.reason)} ({shortened(approval.call.rule)})"

    @admin.display(description="arguments")
    def shown_arguments(self, approval: Approval) -> SafeString:
        """Return what the answer covers."""
        return block(pretty(approval.call.arguments))

    @admin.display(description="session")
    def conversation_of(self, row: Approval) -> SafeString:
        """Return a link to the conversation that the call is a part of."""
        return conversation_link(row.call.turn.session)

    @admin.display(description="owner")
    def owner_of(self, row: Approval) -> str:
        """Return whose session the call belongs to."""
        return shortened(row.call.turn.session.owner.get_username())


class PolicyRuleAdmin(ReadOnlyAdmin):
    list_display = ("created", "owner", "session", "effect", "the_tool", "the_subject", "the_agent")
    list_filter = ("effect", CreatedFilter)
    list_select_related = ("owner", "session")
    sortable_by = ("created",)
    fields = ("id", "owner", "session", "effect", "the_tool", "the_subject", "the_agent", "folder", "created_at")
    the_tool = shown("tool")
    the_subject = shown("subject")
    the_agent = shown("agent")
