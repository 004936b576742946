"""Events: what clients were told, number by number, for whoever has to find out what a client saw.

The largest of the tables, indexed by session and number only: no link here asks it for a turn without its session.
"""

from __future__ import annotations

import json

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import block, exact, pretty, shortened
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import Event


class EventAdmin(SearchableAdmin):
    list_display = ("number", "kind", "summary", "conversation_of", "owner_of", "turn_of", "attempt", "at")
    list_filter = ("kind", CreatedFilter)
    list_select_related = ("session__owner",)
    sortable_by = ()
    fields = (
        *("id", "conversation_of", "owner_of", "turn_of", "first", "number", "kind", "attempt", "shown_payload"),
        "created_at",
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the link from a turn."""
        return lookup in ("session", "turn") or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @admin.display(description="created (UTC)")
    def at(self, event: Event) -> str:
        """Return when it happened; among events, the distance to the next one matters."""
        return exact(event.created_at)

    @admin.display(description="payload")
    def summary(self, event: Event) -> SafeString:
        """Return how the payload begins."""
        return format_html("<bdi>{}</bdi>", shortened(json.dumps(event.payload, ensure_ascii=False)))

    @admin.display(description="payload")
    def shown_payload(self, event: Event) -> SafeString:
        """Return the payload."""
        return block(pretty(event.payload))
