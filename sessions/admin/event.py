"""Events: what clients received, number by number, for operators who have to find out what a client saw.

The largest table, indexed by session and number only: every link that names a turn also names its session.
"""

import json

from django.contrib import admin
from django.db.models import JSONField, QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import block, column, pretty, shorten, show_time
from sessions.admin.filters import CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.events.stored_text import PAYLOAD, decode
from sessions.models import Event


class EventAdmin(SearchableAdmin):
    list_display = ("number", "kind", "summary", "conversation_of", "owner_of", "turn_of", "attempt", "time")
    list_filter = ("kind", CreatedFilter)
    list_select_related = ("session__owner",)
    sortable_by = ()
    fields = (
        *("id", "conversation_of", "owner_of", "turn_of", "first", "number", "kind", "attempt", "payload_block"),
        "created_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Return events with the payloads that clients received."""
        whole = RawSQL(PAYLOAD, (), output_field=JSONField())
        events: QuerySet[Event] = super().get_queryset(request)
        return events.annotate(whole_payload=whole)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the filters that links from a turn use."""
        return lookup in ("session", "turn") or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    @admin.display(description="created")
    def time(self, event: Event) -> SafeString:
        return show_time(event.created_at)

    summary = column(
        "payload",
        lambda event: format_html(
            "<bdi>{}</bdi>", shorten(json.dumps(decode(event.whole_payload), ensure_ascii=False))
        ),
    )
    payload_block = column("payload", lambda event: block(pretty(decode(event.whole_payload))))
