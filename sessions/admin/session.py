"""The list of sessions, and the page of one: the way in to conversations.

The only rows that can be deleted, and only here; never one with an open turn, and never by loading all its events.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from sessions.admin.conversation import conversation_page
from sessions.admin.display import age, badge, conversation_link, shortened, shown
from sessions.admin.filters import AgentFilter, CreatedFilter
from sessions.admin.pages import SearchableAdmin
from sessions.models import OPEN_STATUSES, Event, Message, Session, Turn
from sessions.turns.sessions import delete_session


class SessionAdmin(SearchableAdmin):
    id_paths, session_path = ("pk",), "pk"
    ordering = ("-updated_at",)
    sortable_by = ("created", "used")
    list_display_links = None
    list_display = (
        "name",
        "owner",
        "newest_turn",
        "turns_so_far",
        "tokens",
        "current_agent",
        "created",
        "used",
    )
    list_filter = (CreatedFilter, AgentFilter)
    list_select_related = ("owner",)
    search_help_text = "An id, a part of the key, or the name of the owner."
    fields = ("id", "owner", "the_key", "the_title", "current_agent", "last_number", "created_at", "updated_at")
    the_key = shown("key")
    the_title = shown("title")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        """Add what the list says of turns; PostgreSQL works it out for the rows of one page only."""
        turns = Turn.objects.filter(session=OuterRef("pk"))
        together = turns.order_by().values("session")
        tokens = together.annotate(tokens=Sum("input_tokens") + Sum("output_tokens"))
        sessions: QuerySet[Session] = super().get_queryset(request)
        return sessions.annotate(
            newest_status=Subquery(turns.order_by("-position").values("status")[:1]),
            turn_count=Subquery(together.annotate(count=Count("pk")).values("count")),
            token_count=Subquery(tokens.values("tokens")),
        )

    @admin.display(description="session")
    def name(self, session: Session) -> SafeString:
        """Return a link to what operators come for; the page of the row is one click further."""
        return conversation_link(session)

    @admin.display(description="last used", ordering="updated_at")
    def used(self, session: Session) -> SafeString:
        """Return when something last happened in it."""
        return age(session.updated_at)

    @admin.display(description="newest turn")
    def newest_turn(self, session: Any) -> SafeString | str:
        """Return the status of the newest turn."""
        return badge(session.newest_status) if session.newest_status else "–"

    @admin.display(description="turns")
    def turns_so_far(self, session: Any) -> int:
        """Return how many turns there are."""
        return session.turn_count or 0

    @admin.display(description="tokens")
    def tokens(self, session: Any) -> int:
        """Return how many tokens went in and out."""
        return session.token_count or 0

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A superuser may delete a session with all that belongs to it, as people have a right to ask for."""
        return bool(request.user.is_active and request.user.is_superuser)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Count what would go, where Django would load and list every event; a session at work may not go."""
        ids = [session.pk for session in objs]
        counts = {
            "turns": Turn.objects.filter(session__in=ids).count(),
            "messages": Message.objects.filter(session__in=ids).count(),
            "events": Event.objects.filter(session__in=ids).count(),
        }
        open_turns = Turn.objects.filter(session__in=ids, status__in=OPEN_STATUSES)[:10]
        return [shortened(session) for session in objs], counts, set(), [str(turn) for turn in open_turns]

    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        """Delete it as its owner would; whoever follows it finds out at its next look at the log, within 30 s."""
        delete_session(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        """Delete them, one after the other."""
        for session_id in list(queryset.values_list("pk", flat=True)):
            delete_session(session_id)

    def get_urls(self) -> list[URLPattern]:
        """Add the conversation."""
        view = self.admin_site.admin_view(self.conversation)
        name = "agent_sessions_session_conversation"
        return [path("<uuid:session_id>/conversation/", view, name=name), *super().get_urls()]

    def conversation(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Show what was said in a session."""
        return conversation_page(self.admin_site, request, session_id)
