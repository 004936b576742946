"""Turns, and what was said and called in them: which ones failed, how long they took, what they cost.

Each row says whose session it is a part of. A list never asks the database once for each row.
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
    pictures_of,
    pretty,
    pretty_text,
    seconds,
    shortened,
    shown,
    visible,
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
    the_model = shown("model")
    the_worker = shown("worker")
    the_error = shown("error")

    @admin.display(description="status")
    def state(self, turn: Turn) -> SafeString:
        """Return the status."""
        return badge(turn.status)

    @admin.display(description="tokens in / out")
    def tokens(self, turn: Turn) -> str:
        """Return how many tokens went in and out."""
        return f"{turn.input_tokens} / {turn.output_tokens}"

    @admin.display(description="first token after")
    def first_token(self, turn: Turn) -> str:
        """Return how long the user waited for the first word."""
        return seconds(turn.created_at, turn.first_token_at)

    @admin.display(description="duration")
    def duration(self, turn: Turn) -> str:
        """Return how long the turn took, waiting included; for an open turn, so far."""
        return seconds(turn.created_at, turn.finished_at or timezone.now())

    @admin.display(description="events")
    def events(self, turn: Turn) -> SafeString:
        """Return a link to what was told of the turn."""
        url = reverse("admin:agent_sessions_event_changelist")
        # The session comes first because it has an index; the turn of an event has none.
        return format_html('<a href="{}?session={}&turn={}">Events</a>', url, turn.session_id, turn.pk)


class MessageAdmin(SearchableAdmin):
    id_paths = ("pk", "session", "turn")
    list_display = (
        "created",
        "role",
        "beginning",
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
            "pictures",
            "calls",
            "the_tool_call_id",
            "cut_off",
        ),
        *("withdrawn", "the_client_message_id", "number", "created_at"),
    )
    the_tool_call_id = shown("tool_call_id")
    the_client_message_id = shown("client_message_id")

    @admin.display(description="text")
    def beginning(self, message: Message) -> SafeString:
        """Return how the text begins."""
        return format_html("<bdi>{}</bdi>", shortened(message.content) or "–")

    @admin.display(description="text")
    def text(self, message: Message) -> SafeString:
        """Return the whole text."""
        return block(visible(message.content))

    @admin.display(description="images")
    def pictures(self, message: Message) -> SafeString | str:
        """Return links to the pictures that it shows."""
        return pictures_of(message)

    @admin.display(description="tool calls")
    def calls(self, message: Message) -> SafeString:
        """Return the calls the message asked for."""
        return block(pretty(message.tool_calls) if message.tool_calls else "")

    @admin.display(description="interrupted")
    def cut_off(self, message: Message) -> SafeString | str:
        """Return how the turn ended where the text is only a part of an answer: it failed or its user cancelled it."""
        return format_html("yes, the turn: {}", badge(message.turn.status)) if message.interrupted else "no"


class ToolCallAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "turn"), "turn__session"
    search_help_text = "An id of a call or its turn, a part of the session's key, or the name of its owner."
    list_display = (
        "created",
        "the_tool",
        "state",
        "requires_approval",
        "took",
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
            "shown_arguments",
            "the_agent",
            "requires_approval",
            "the_rule",
        ),
        *("state", "shown_result", "took", "created_at", "finished_at"),
    )
    the_tool = shown("tool")
    the_call_id = shown("call_id")
    the_agent = shown("agent")
    the_rule = shown("rule")

    @admin.display(description="session")
    def conversation_of(self, row: ToolCall) -> SafeString:
        """Return a link to the conversation that the call is a part of."""
        return conversation_link(row.turn.session)

    @admin.display(description="owner")
    def owner_of(self, row: ToolCall) -> str:
        """Return whose session the call belongs to."""
        return shortened(row.turn.session.owner.get_username())

    @admin.display(description="status")
    def state(self, call: ToolCall) -> SafeString:
        """Return the status."""
        return badge(call.status)

    @admin.display(description="took")
    def took(self, call: ToolCall) -> str:
        """Return how long the client took, a person's decision included."""
        return seconds(call.created_at, call.finished_at)

    @admin.display(description="arguments")
    def shown_arguments(self, call: ToolCall) -> SafeString:
        """Return the arguments."""
        return block(pretty(call.arguments))

    @admin.display(description="result")
    def shown_result(self, call: ToolCall) -> SafeString:
        """Return what the model was told."""
        return block(pretty_text(call.result))
