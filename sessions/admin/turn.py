"""Turns, messages and tool calls.

Each row links to its session and names the owner. The number of queries of a list does not grow with its rows.
"""

from collections.abc import Sequence
from typing import Any, override

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import (
    badge,
    block,
    column,
    escape_controls,
    format_duration,
    format_wait,
    image_links,
    pretty_arguments,
    pretty_calls,
    pretty_text,
    shorten,
    task_link,
    text_column,
)
from sessions.admin.filters import (
    CreatedFilter,
    ErrorCodeFilter,
    ModelFilter,
    OpenFilter,
    PeriodFilter,
    SlowestFilter,
    ToolFilter,
)
from sessions.admin.operators import ActingAdmin
from sessions.admin.pages import SearchableAdmin
from sessions.admin.story.page import may_see_story, turn_context
from sessions.models import Turn, TurnStatus
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change
from sessions.turns import attempts, inbox, recovery


class TurnAdmin(ActingAdmin, SearchableAdmin):
    list_display = (
        *("created", "state", "error_code", "conversation_of", "owner_of", "the_model", "tokens"),
        *("first_token", "duration", "attempt", "the_worker"),
    )
    list_filter = ("status", CreatedFilter, ModelFilter, ErrorCodeFilter, OpenFilter, PeriodFilter, SlowestFilter)
    list_select_related = ("session__owner",)
    sortable_by = ("created",)
    fields = (
        *(
            "id",
            "conversation_of",
            "owner_of",
            "events",
            "state",
            "position",
            "attempt",
            "lost_leases",
            "steps",
            "plan_steps",
        ),
        *(
            "the_worker",
            "the_task",
            "the_model",
            "input_tokens",
            "output_tokens",
            "first_token",
            "duration",
            "error_code",
            "the_error",
        ),
        *(
            "created_at",
            "started_at",
            "first_token_at",
            "waiting_since",
            "retry_at",
            "the_retry_wait",
            "lease_expires_at",
            "claimed_at",
            "the_work",
            "finished_at",
            "replaced_by",
        ),
    )
    actions: Sequence[Any] | None = ("cancel", "retry", "requeue")
    page_actions = {"cancel": "Cancel", "retry": "Retry", "requeue": "Put back into the queue"}

    @admin.action(description="Cancel the selected turns", permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Turn]) -> Any:
        """Stop the selected turns, as their users can."""
        return self.act(request, chosen, "Cancelled", lambda turn: attempts.cancel(turn.session_id, turn.pk))

    @admin.action(description="Retry the selected turns, which have failed", permissions=["retry"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Turn]) -> Any:
        """Send the messages of the selected turns again."""
        return self.act(request, chosen, "Retried", _retry)

    @admin.action(description="Put the selected turns back into the queue", permissions=["requeue"])
    def requeue(self, request: HttpRequest, chosen: QuerySet[Turn]) -> Any:
        """Have another worker run the selected turns, now."""
        return self.act(request, chosen, "Put back", lambda turn: recovery.put_back(turn.session_id, turn.pk))

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agent_sessions.cancel_turn")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agent_sessions.retry_turn")

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agent_sessions.requeue_turn")

    def get_ordering(self, request: HttpRequest) -> Any:
        """Return the order of the list: the newest first, or the slowest."""
        return SlowestFilter.ordering(request) or super().get_ordering(request)

    the_model = text_column("model")
    the_worker = text_column("worker")
    the_task = column("Celery task", lambda turn: task_link(turn.task))
    the_error = text_column("error")
    the_retry_wait = column("waited for the provider", lambda turn: format_wait(turn.retry_wait))
    the_work = column("working time", lambda turn: format_wait(turn.worked))
    state = column("status", lambda turn: badge(turn.status))
    tokens = column("tokens in / out", lambda turn: f"{turn.input_tokens} / {turn.output_tokens}")
    first_token = column("first token after", lambda turn: format_duration(turn.created_at, turn.first_token_at))
    duration = column("duration", lambda turn: format_duration(turn.created_at, turn.finished_at or timezone.now()))

    @override
    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Turn | None = None,
    ) -> HttpResponse:
        """Return the page of a turn: its fields, and its story for those who may see that of the session."""
        if obj and may_see_story(self.admin_site, request):
            context |= turn_context(obj)
        return super().render_change_form(request, context, add=add, change=change, form_url=form_url, obj=obj)

    @admin.display(description="events")
    def events(self, turn: Turn) -> SafeString:
        url = reverse("admin:agent_sessions_event_changelist")
        # With the session, which has an index; the turn of an event has none.
        return format_html('<a href="{}?session={}&turn={}">Events</a>', url, turn.session_id, turn.pk)


def _retry(turn: Turn) -> Change:
    if turn.status != TurnStatus.FAILED:
        raise Rejected(ErrorCode.NOT_REPLACEABLE, f"Turn {turn.pk} has not failed.")
    if turn.session.is_completion:
        raise Rejected(ErrorCode.NOT_REPLACEABLE, f"Turn {turn.pk} is a request of a caller, who has its answer.")
    return inbox.retry_turn(turn.pk)


class MessageAdmin(SearchableAdmin):
    id_paths = ("pk", "session", "turn")
    list_display = (
        "created",
        "role",
        "excerpt",
        "conversation_of",
        "owner_of",
        "turn_of",
        "number",
        "interrupted",
        "withdrawn",
        "steered",
    )
    list_filter = ("role", CreatedFilter, "interrupted", "withdrawn", "steered")
    list_select_related = ("session__owner",)
    sortable_by = ("created",)
    fields = (
        *(
            "id",
            "conversation_of",
            "owner_of",
            "turn_of",
            "role",
            "subtask",
            "text",
            "the_surroundings",
            "images_row",
            "calls",
            "the_tool_call_id",
            "interruption",
        ),
        *("withdrawn", "steered", "read_number", "the_client_message_id", "number", "created_at"),
    )
    the_tool_call_id = text_column("tool_call_id")
    the_client_message_id = text_column("client_message_id")
    excerpt = column("text", lambda message: format_html("<bdi>{}</bdi>", shorten(message.content) or "–"))
    text = column("text", lambda message: block(escape_controls(message.content)))
    the_surroundings = column("told besides", lambda message: block(escape_controls(message.surroundings)))
    images_row = column("images", image_links)
    calls = column("tool calls", lambda message: block(pretty_calls(message.tool_calls) if message.tool_calls else ""))
    interruption = column(
        "interrupted",
        lambda message: format_html("yes, the turn: {}", badge(message.turn.status)) if message.interrupted else "no",
    )


class ToolCallAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "turn"), "turn__session"
    search_help_text = "Id of a call or its turn, part of the session's key, or name of its owner."
    list_display = (
        "created",
        "the_tool",
        "state",
        "requires_approval",
        "duration",
        "conversation_of",
        "owner_of",
        "turn_of",
    )
    list_filter = ("status", CreatedFilter, ToolFilter, "requires_approval")
    list_select_related = ("turn__session__owner",)
    sortable_by = ("created",)
    fields = (
        *(
            "id",
            "conversation_of",
            "owner_of",
            "turn_of",
            "the_call_id",
            "the_tool",
            "arguments_block",
            "definition_block",
            "edited",
            "the_agent",
            "requires_approval",
            "the_rule",
        ),
        *("state", "result_block", "facts_block", "duration", "created_at", "finished_at"),
    )
    the_tool = text_column("tool")
    the_call_id = text_column("call_id")
    the_agent = text_column("agent")
    the_rule = text_column("rule")
    state = column("status", lambda call: badge(call.status))
    duration = column("duration", lambda call: format_duration(call.created_at, call.finished_at))
    arguments_block = column("arguments", lambda call: block(pretty_arguments(call.arguments)))
    definition_block = column(
        "defined by the client", lambda call: block(pretty_arguments(call.definition) if call.definition else "")
    )
    facts_block = column("told to people", lambda call: block(pretty_arguments(call.facts) if call.facts else ""))
    result_block = column("result", lambda call: block(pretty_text(call.result)))
