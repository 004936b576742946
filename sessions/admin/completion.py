"""Requests to the APIs for completions: their model or agent, their content and how they ended."""

from django.db.models import QuerySet
from django.http import HttpRequest

from sessions.admin.display import badge, block, column, pretty, shorten, text_column
from sessions.admin.filters import ClientAgentFilter, ClientSessionFilter, CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Completion


class CompletionAdmin(SearchableAdmin):
    id_paths, session_path = ("pk", "turn"), "turn__session"
    list_display = (
        "created",
        "api",
        "kind",
        "the_model",
        "state",
        "finish_reason",
        "conversation_of",
        "owner_of",
        "turn_of",
    )
    list_filter = ("api", "kind", CreatedFilter, "finish_reason", ClientSessionFilter, ClientAgentFilter)
    list_select_related = ("turn__session__owner",)
    sortable_by = ("created",)
    fields = (
        *("id", "conversation_of", "owner_of", "turn_of", "api", "kind", "the_model", "the_agent"),
        *("of_client_session", "of_client_agent", "is_background", "is_stored", "lost_at"),
        *(
            "messages_block",
            "tools_block",
            "options_block",
            "details_block",
            "state",
            "finish_reason",
            "cached_tokens",
            "reasoning_tokens",
            "created_at",
        ),
    )
    the_model = text_column("model")
    the_agent = text_column("agent")
    of_client_session = text_column("client_session")
    of_client_agent = text_column("client_agent")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Completion]:
        """Defer columns that may hold megabytes; only the page of a row reads them."""
        rows: QuerySet[Completion] = super().get_queryset(request)
        return rows.defer("messages", "tools", "options", "details", "result")

    state = column("status", lambda row: badge(row.turn.status))
    messages_block = column("messages", lambda row: block(pretty([_with_short_images(each) for each in row.messages])))
    tools_block = column("tools", lambda row: block(pretty(row.tools) if row.tools else ""))
    options_block = column("options", lambda row: block(pretty(row.options) if row.options else ""))
    details_block = column("details", lambda row: block(pretty(row.details) if row.details else ""))


def _with_short_images(message: object) -> object:
    """Return the message with only the beginning of each image's data."""
    if not isinstance(message, dict) or "images" not in message:
        return message
    return {**message, "images": [{**image, "url": shorten(image["url"])} for image in message["images"]]}
