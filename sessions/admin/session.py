"""The list of sessions, which leads to their conversations, and the page of a session.

Operators with the permission export sessions. A superuser may delete them, except those with an open turn. Deleting
never loads a session's events.
"""

import uuid
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from agents.client_tools import dump
from sessions.admin import export
from sessions.admin.display import (
    badge,
    block,
    column,
    conversation_link,
    escape_controls,
    pretty_text,
    shorten,
    show_time,
    text_column,
)
from sessions.admin.filters import AgentFilter, CreatedFilter
from sessions.admin.operators import reason_of
from sessions.admin.pages import SearchableAdmin
from sessions.admin.story.page import may_see_story, story_page
from sessions.admin.story.past import past_page
from sessions.admin.workspace import workspace_link
from sessions.models import OPEN_STATUSES, Event, Message, Session, Turn
from sessions.turns.definitions import definitions_of
from sessions.turns.deletion import delete_session

NO_REASON = "Say why the session is to be deleted: the reason is kept, the session is not."


class SessionAdmin(SearchableAdmin):
    id_paths, session_path = ("pk",), "pk"
    ordering = ("-updated_at",)
    sortable_by = ("created", "last_use")
    list_display_links = None
    list_display = ("name", "owner", "newest_turn", "turn_count", "tokens", "current_agent", "created", "last_use")
    list_filter = (CreatedFilter, AgentFilter)
    list_select_related = ("owner",)
    search_help_text = "Id, words of the title, part of the key, or name of the owner."
    fields = (
        *("id", "owner", "the_key", "the_title", "current_agent", "the_workspace", "the_tools", "the_definitions"),
        *("last_number", "created_at", "updated_at"),
    )
    the_workspace = column("workspace", workspace_link)
    the_key = text_column("key")
    the_title = text_column("title")
    the_tools = column(
        "tools of the client",
        lambda session: escape_controls("all" if session.client_tools is None else ", ".join(session.client_tools)),
    )
    the_definitions = column(
        "tools that the client defines",
        lambda session: block(
            pretty_text(dump(list(definitions_of(session).values()))) if session.tool_definitions else ""
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        """Add the figures about turns. PostgreSQL computes them for the rows of one page only."""
        turns = Turn.objects.filter(session=OuterRef("pk"))
        by_session = turns.order_by().values("session")
        tokens = by_session.annotate(tokens=Sum("input_tokens") + Sum("output_tokens"))
        sessions: QuerySet[Session] = super().get_queryset(request)
        return sessions.annotate(
            newest_status=Subquery(turns.order_by("-position").values("status")[:1]),
            turn_count=Subquery(by_session.annotate(count=Count("pk")).values("count")),
            token_count=Subquery(tokens.values("tokens")),
        )

    name = column("session", conversation_link)

    @admin.display(description="last used", ordering="updated_at")
    def last_use(self, session: Session) -> SafeString:
        return show_time(session.updated_at)

    newest_turn = column("newest turn", lambda session: badge(session.newest_status) if session.newest_status else "–")
    turn_count = column("turns", lambda session: session.turn_count or 0)
    tokens = column("tokens", lambda session: session.token_count or 0)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user is a superuser. Users have a right to ask for deletion."""
        return bool(request.user.is_active and request.user.is_superuser)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Return counts instead of every object, which Django would load, and protect sessions with open turns."""
        ids = [session.pk for session in objs]
        counts = {
            "turns": Turn.objects.filter(session__in=ids).count(),
            "messages": Message.objects.filter(session__in=ids).count(),
            "events": Event.objects.filter(session__in=ids).count(),
        }
        open_turns = Turn.objects.filter(session__in=ids, status__in=OPEN_STATUSES)[:10]
        return [shorten(session) for session in objs], counts, set(), [str(turn) for turn in open_turns]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Record who deleted the sessions, and why. The record has no title: it is deleted with the session."""
        fields: dict[str, Any] = {
            "user_id": cast(AbstractBaseUser, request.user).pk,
            "content_type": ContentType.objects.get_for_model(Session),
            "action_flag": DELETION,
            "change_message": f"Deleted. Reason: {reason_of(request)}",
        }
        return LogEntry.objects.bulk_create(
            LogEntry(object_id=session.pk, object_repr=f"session {session.pk}", **fields) for session in queryset
        )

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        """Delete a session, when the operator says why."""
        if request.method == "POST" and self.has_delete_permission(request) and not reason_of(request):
            self.message_user(request, NO_REASON, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return super().delete_view(request, object_id, extra_context)

    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        """Delete a session as its owner would. Its clients notice at their next read of the log, within 30 s."""
        delete_session(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        for session_id in list(queryset.values_list("pk", flat=True)):
            delete_session(session_id)

    def get_urls(self) -> list[URLPattern]:
        views = {"conversation": self.conversation, "past": self.past, "export": self.export}
        return [
            path(f"<uuid:session_id>/{name}/", self.admin_site.admin_view(view), name=f"agent_sessions_session_{name}")
            for name, view in views.items()
        ] + super().get_urls()

    def conversation(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Return the page of a session's story."""
        return story_page(self.admin_site, request, session_id)

    def past(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Return the page of a session as it was at one of its events."""
        return past_page(self.admin_site, request, session_id)

    def export(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponseBase:
        """Return a session as a file, and record who took it. Only by POST, as it is recorded."""
        if not may_export(self.admin_site, request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        session = get_object_or_404(Session, pk=session_id)
        reason = reason_of(request)
        self.log_change(request, session, f"Exported. Reason: {reason}" if reason else "Exported.")
        response = StreamingHttpResponse(export.parts(session), content_type="application/json")
        response["Content-Disposition"] = f'attachment; filename="session-{session.pk}.json"'
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Add whether this operator may export the session."""
        context["may_export"] = may_export(self.admin_site, request)
        response: HttpResponse = super().render_change_form(request, context, *args, **options)
        return response


def may_export(site: admin.AdminSite, request: HttpRequest) -> bool:
    """Return whether the user may see all that a session is made of, and take it along."""
    return may_see_story(site, request) and request.user.has_perm("agent_sessions.export_session")
