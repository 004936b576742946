"""Requests of the OpenAI-compatible door: what was asked of which model or agent, and how it ended."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from sessions.admin.display import badge, block, conversation_link, pretty, shortened, shown
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Completion


class CompletionAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "turn"), "turn__session"
    list_display = ("created", "kind", "the_model", "state", "finish_reason", "conversation_of", "owner_of", "turn_of")
    list_filter = ("kind", CreatedFilter, "finish_reason")
    list_select_related = ("turn__session__owner",)
    sortable_by = ("created",)
    fields = (
        *("id", "conversation_of", "owner_of", "turn_of", "kind", "the_model", "the_agent", "asked", "offered"),
        *("the_options", "state", "finish_reason", "cached_tokens", "reasoning_tokens", "created_at"),
    )
    the_model = shown("model")
    the_agent = shown("agent")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Completion]:
        """Leave out what may be megabytes; the page of a row reads it."""
        rows: QuerySet[Completion] = super().get_queryset(request)
        return rows.defer("messages", "tools", "options", "result")

    @admin.display(description="session")
    def conversation_of(self, row: Completion) -> SafeString:
        """Return a link to the answer."""
        return conversation_link(row.turn.session)

    @admin.display(description="owner")
    def owner_of(self, row: Completion) -> str:
        """Return who asked."""
        return shortened(row.turn.session.owner.get_username())

    @admin.display(description="status")
    def state(self, row: Completion) -> SafeString:
        """Return the status of the turn that answers."""
        return badge(row.turn.status)

    @admin.display(description="messages")
    def asked(self, row: Completion) -> SafeString:
        """Return the conversation as it was sent, images shortened."""
        return block(pretty([_without_data(each) for each in row.messages]))

    @admin.display(description="tools")
    def offered(self, row: Completion) -> SafeString:
        """Return the tools that the caller can run."""
        return block(pretty(row.tools) if row.tools else "")

    @admin.display(description="options")
    def the_options(self, row: Completion) -> SafeString:
        """Return the further parameters."""
        return block(pretty(row.options) if row.options else "")


def _without_data(message: object) -> object:
    """Return a message with the beginnings of its images, which nobody can read as text."""
    if not isinstance(message, dict) or "images" not in message:
        return message
    return {**message, "images": [{**image, "url": shortened(image["url"])} for image in message["images"]]}
