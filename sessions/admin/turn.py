"""Turns, messages and tool calls.

Each row links to its session and names the owner. The number of queries of a list does not grow with its rows.
"""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import (
    badge,
    block,
    conversation_link,
    escape_controls,
    format_duration,
    image_links,
    pretty,
    pretty_text,
    shorten,
    text_column,
)
from sessions.admin.filters import CreatedFilter, ErrorCodeFilter, ModelFilter, ToolFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Message, ToolCall, Turn


class TurnAdmin(SearchableAdmin):
    list_display = (
        *("created", "state", "error_code", "conversation_of", "owner_of", "the_model", "tokens"),
        *("first_token", "duration", "attempt", "the_worker"),
    )
    list_filter = ("status", CreatedFilter, ModelFilter, ErrorCodeFilter)
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
            "lease_expires_at",
            "claimed_at",
            "worked",
            "finished_at",
        ),
    )
    the_model = text_column("model")
    the_worker = text_column("worker")
    the_error = text_column("error")

    @admin.display(description="status")
    def state(self, turn: Turn) -> SafeString:
        return badge(turn.status)

    @admin.display(description="tokens in / out")
    def tokens(self, turn: Turn) -> str:
        return f"{turn.input_tokens} / {turn.output_tokens}"

    @admin.display(description="first token after")
    def first_token(self, turn: Turn) -> str:
        return format_duration(turn.created_at, turn.first_token_at)

    @admin.display(description="duration")
    def duration(self, turn: Turn) -> str:
        return format_duration(turn.created_at, turn.finished_at or timezone.now())

    @admin.display(description="events")
    def events(self, turn: Turn) -> SafeString:
        url = reverse("admin:agent_sessions_event_changelist")
        # With the session, which has an index; the turn of an event has none.
        return format_html('<a href="{}?session={}&turn={}">Events</a>', url, turn.session_id, turn.pk)


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
    )
    list_filter = ("role", CreatedFilter, "interrupted", "withdrawn")
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
            "images_row",
            "calls",
            "the_tool_call_id",
            "interruption",
        ),
        *("withdrawn", "the_client_message_id", "number", "created_at"),
    )
    the_tool_call_id = text_column("tool_call_id")
    the_client_message_id = text_column("client_message_id")

    @admin.display(description="text")
    def excerpt(self, message: Message) -> SafeString:
        return format_html("<bdi>{}</bdi>", shorten(message.content) or "–")

    @admin.display(description="text")
    def text(self, message: Message) -> SafeString:
        return block(escape_controls(message.content))

    @admin.display(description="images")
    def images_row(self, message: Message) -> SafeString | str:
        return image_links(message)

    @admin.display(description="tool calls")
    def calls(self, message: Message) -> SafeString:
        return block(pretty(message.tool_calls) if message.tool_calls else "")

    @admin.display(description="interrupted")
    def interruption(self, message: Message) -> SafeString | str:
        return format_html("yes, the turn: {}", badge(message.turn.status)) if message.interrupted else "no"


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
            "the_agent",
            "requires_approval",
            "the_rule",
        ),
        *("state", "result_block", "duration", "created_at", "finished_at"),
    )
    the_tool = text_column("tool")
    the_call_id = text_column("call_id")
    the_agent = text_column("agent")
    the_rule = text_column("rule")

    @admin.display(description="session")
    def conversation_of(self, row: ToolCall) -> SafeString:
        return conversation_link(row.turn.session)

    @admin.display(description="owner")
    def owner_of(self, row: ToolCall) -> str:
        return shorten(row.turn.session.owner.get_username())

    @admin.display(description="status")
    def state(self, call: ToolCall) -> SafeString:
        return badge(call.status)

    @admin.display(description="duration")
    def duration(self, call: ToolCall) -> str:
        return format_duration(call.created_at, call.finished_at)

    @admin.display(description="arguments")
    def arguments_block(self, call: ToolCall) -> SafeString:
        return block(pretty(call.arguments))

    @admin.display(description="result")
    def result_block(self, call: ToolCall) -> SafeString:
        return block(pretty_text(call.result))
