"""The admin, for operators: what happened in a session, and which turns failed and why.

It only shows. `sessions.lifecycle` is the one writer of what happens in a session, so nothing can be added or changed
here; a superuser may delete a whole session. Tables have millions of rows: a page must never count or search a whole
one, so lists are ordered by their time-sorted ids, counts stop at a bound, and texts are not searched.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Model, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from sessions.models import (
    OPEN_STATUSES,
    Event,
    Message,
    MessageRole,
    Session,
    ToolCall,
    Turn,
    Worker,
)

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    Admin, AnyPaginator = admin.ModelAdmin, Paginator

TURNS_PER_PAGE = 100
#: Rows of a list that are counted and can be paged to; who looks for older ones filters.
COUNTED_ROWS = 10_000
#: Characters of one text that the conversation shows; the rest is a click away.
SHOWN_CHARACTERS = 20_000
#: Newest rows whose values a filter offers: a DISTINCT over the whole table would read all of it.
SAMPLED_ROWS = 2_000

# Characters that do not show, or that make other text show in another order: an operator has to see that they are
# there. C0 and DEL have pictures in Unicode; overrides and isolates of direction, and C1, are named.
_UNSEEN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: "␡"}
_UNSEEN |= {code: f"⟨U+{code:04X}⟩" for code in (*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def visible(text: object) -> str:
    """Return the text with its control characters made visible and harmless."""
    return str(text).replace("\r\n", "\n").translate(_UNSEEN)


def shortened(text: object, length: int = 80) -> str:
    """Return the beginning of the text on one line."""
    line = " ".join(visible(str(text)[: length + 1]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def pretty(value: object) -> str:
    """Return JSON for people."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False))


def pretty_text(text: str) -> str:
    """Return the text, laid out when it is JSON."""
    try:
        return pretty(json.loads(text))
    except ValueError:
        return visible(text)


def block(text: str) -> SafeString:
    """Return a text as it was written, blanks and line ends included."""
    return format_html('<pre class="verbatim">{}</pre>', text) if text else SafeString("–")


def seconds(start: datetime | None, end: datetime | None) -> str:
    """Return the time between two moments, or a dash."""
    if start is None or end is None:
        return "–"
    passed = (end - start).total_seconds()
    if passed < 1:
        return f"{passed * 1000:.0f} ms"
    return f"{passed:.1f} s" if passed < 120 else str(timedelta(seconds=round(passed)))


def age(moment: datetime) -> SafeString:
    """Return how long ago something was, with the moment itself for those who point at it."""
    passed = (timezone.now() - moment).total_seconds()
    text = f"{passed:.0f} seconds" if passed < 60 else timesince(moment, depth=1)
    return format_html('<time class="age" title="{}">{} ago</time>', exact(moment), text)


def exact(moment: datetime) -> str:
    """Return a moment as logs write it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def badge(status: str) -> SafeString:
    """Return a status as coloured text; the colours are in admin.css."""
    return format_html('<span class="state state-{}">{}</span>', status, status)


def link(row: Model, text: object) -> SafeString:
    """Return a link to the page of a row."""
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, text)


def conversation_link(session: Session) -> SafeString:
    """Return a link to the conversation, with the session's name as text."""
    url = reverse("admin:agent_sessions_session_conversation", args=[session.pk])
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, shortened(session, 60))


def shown(column: str) -> Callable[[Any, Any], SafeString]:
    """Return a method for lists and pages that shows a column of foreign text."""

    @admin.display(description=column.replace("_", " "))
    def show(_admin: Any, row: Any) -> SafeString:
        return format_html("<bdi>{}</bdi>", visible(getattr(row, column)) or "–")

    return show


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not generic at run time
    """Counts a bounded number of rows, because PostgreSQL has to read all that it counts."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows that can be paged through."""
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        return rows.order_by().values("pk")[:COUNTED_ROWS].count()


class CreatedFilter(admin.SimpleListFilter):
    """By age, through the ids: they begin with the time, and unlike `created_at` they have an index."""

    title = "created"
    parameter_name = "created"
    ages = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1), "month": timedelta(30)}

    def lookups(self, request: HttpRequest, model_admin: Admin) -> Iterable[tuple[str, str]]:
        """Offer the ages."""
        return [(name, f"In the last {name}") for name in self.ages]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows that are younger."""
        age = self.ages.get(self.value() or "")
        if age is None:
            return queryset
        milliseconds = int((timezone.now() - age).timestamp() * 1000)
        return queryset.filter(pk__gte=uuid.UUID(int=milliseconds << 80))


class RecentValuesFilter(admin.SimpleListFilter):
    """By one of the values that the newest rows have in a column."""

    def lookups(self, request: HttpRequest, model_admin: Admin) -> Iterable[tuple[str, str]]:
        """Offer what there is."""
        newest = model_admin.model._default_manager.order_by("-pk")
        values = set(newest.values_list(self.parameter_name, flat=True)[:SAMPLED_ROWS])
        return [(value, shortened(value)) for value in sorted(values | {self.value() or ""}) if value]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows with the value."""
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class AgentFilter(RecentValuesFilter):
    title, parameter_name = "agent", "current_agent"


class ModelFilter(RecentValuesFilter):
    title = parameter_name = "model"


class ErrorCodeFilter(RecentValuesFilter):
    title, parameter_name = "error code", "error_code"


class ToolFilter(RecentValuesFilter):
    title = parameter_name = "tool"


class ReadOnlyAdmin(Admin):
    """Shows rows, the newest first, and changes none."""

    ordering = ("-pk",)
    list_per_page = 50
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count the whole table, once for each choice
    actions = None

    class Media:
        css = {"all": ["sessions/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows are made by `sessions.lifecycle` alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A part of a session cannot go without the rest."""
        return False

    @admin.display(description="created", ordering="pk")
    def created(self, row: Any) -> SafeString:
        """Return the age; the ids sort by it."""
        return age(row.created_at)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return what the page of a row shows: all of it is for reading, also what is no column."""
        return [str(name) for name in self.fields or ()]


class SearchableAdmin(ReadOnlyAdmin):
    """Finds rows by an id, or by their session. The words of a conversation are not searched: they have no index."""

    #: Columns that hold an id and have an index.
    id_paths: Sequence[str] = ("pk", "session")
    session_path = "session"
    search_fields = ("pk",)  # Django shows the box when there is one
    search_help_text = "An id of a row or of its session, a part of the session's key, or the name of its owner."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look an id up by index, and anything else among the sessions, which are few beside their rows."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = uuid.UUID(term)
        except ValueError:
            sessions = Session.objects.filter(Q(key__icontains=term) | Q(owner__username__iexact=term))
            return queryset.filter(**{f"{self.session_path}__in": sessions.values("pk")}), False
        ids: list[Any] = [(path, wanted) for path in self.id_paths]
        return queryset.filter(Q.create(ids, connector=Q.OR)), False

    @admin.display(description="session")
    def conversation_of(self, row: Any) -> SafeString:
        """Return a link to the conversation that the row is a part of."""
        return conversation_link(row.session)

    @admin.display(description="owner")
    def owner_of(self, row: Any) -> str:
        """Return whose session the row belongs to."""
        return shortened(row.session.owner.get_username())

    @admin.display(description="turn")
    def turn_of(self, row: Any) -> SafeString | str:
        """Return a link to the row's turn, without reading the turn."""
        return link(Turn(pk=row.turn_id), "turn") if row.turn_id else "–"


@admin.register(Session)
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

    def get_urls(self) -> list[URLPattern]:
        """Add the conversation."""
        view = self.admin_site.admin_view(self.conversation)
        name = "agent_sessions_session_conversation"
        return [path("<uuid:session_id>/conversation/", view, name=name), *super().get_urls()]

    def conversation(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        """Show a session from its first word to its last, some turns a page; without a number, the newest page."""
        shown = (Session, Turn, Message, ToolCall)
        if not all(self.admin_site.get_model_admin(model).has_view_permission(request) for model in shown):
            raise PermissionDenied
        session = get_object_or_404(Session.objects.select_related("owner"), pk=session_id)
        pages = Paginator(session.turns.order_by("position"), TURNS_PER_PAGE)
        page = pages.get_page(request.GET.get("page", pages.num_pages))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": shortened(session),
            "session": session,
            "page": page,
            "numbers": pages.get_elided_page_range(page.number),
            "turns": turns_shown(list(page)),
        }
        return TemplateResponse(request, "admin/agent_sessions/session/conversation.html", context)


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text made safe to look at, and how much of it was left out."""

    text: str
    left_out: int = 0

    @classmethod
    def of(cls, text: str, layout: Any = visible) -> ShownText:
        """Cut what is too long for a page; the page of the row has it all."""
        if len(text) > SHOWN_CHARACTERS:
            return cls(visible(text[:SHOWN_CHARACTERS]), len(text) - SHOWN_CHARACTERS)
        return cls(layout(text))


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A tool call; without a row where the turn ended before there was one."""

    tool: str
    arguments: ShownText
    row: ToolCall | None = None
    result: ShownText | None = None
    took: str = "–"


@dataclass(frozen=True, slots=True)
class ShownMessage:
    row: Message
    content: ShownText
    calls: list[ShownCall]


@dataclass(frozen=True, slots=True)
class ShownTurn:
    row: Turn
    facts: list[tuple[str, object]]
    messages: list[ShownMessage]
    error: str


def turns_shown(turns: list[Turn]) -> list[ShownTurn]:
    """Return the turns with all they hold, in two queries however many there are."""
    messages: dict[uuid.UUID, list[Message]] = {turn.pk: [] for turn in turns}
    for message in Message.objects.filter(turn__in=turns).order_by("number"):
        messages[message.turn_id].append(message)
    calls: dict[uuid.UUID, dict[str, ToolCall]] = {turn.pk: {} for turn in turns}
    for call in ToolCall.objects.filter(turn__in=turns):
        calls[call.turn_id][call.call_id] = call
    return [
        ShownTurn(turn, facts_of(turn), messages_shown(messages[turn.pk], calls[turn.pk]), visible(turn.error))
        for turn in turns
    ]


def facts_of(turn: Turn) -> list[tuple[str, object]]:
    """Return what an operator wants to know of a turn at a glance."""
    return [
        ("Model", visible(turn.model) or "–"),
        ("Tokens", f"{turn.input_tokens} in, {turn.output_tokens} out"),
        ("First token after", seconds(turn.created_at, turn.first_token_at)),
        ("Duration", seconds(turn.created_at, turn.finished_at)),
        ("Attempt", turn.attempt),
        ("Worker", visible(turn.worker) or "–"),
    ]


def messages_shown(messages: list[Message], calls: dict[str, ToolCall]) -> list[ShownMessage]:
    """Return a turn's messages; the result of a tool stands with its call and not once more as a message."""
    return [
        ShownMessage(row, ShownText.of(row.content), [call_shown(call, calls) for call in row.tool_calls])
        for row in messages
        if not (row.role == MessageRole.TOOL and row.tool_call_id in calls)
    ]


def call_shown(call: dict[str, Any], rows: dict[str, ToolCall]) -> ShownCall:
    """Return a call as the model asked for it, with what became of it."""
    row = rows.get(call["id"])
    tool, arguments = visible(call["name"]), ShownText.of(pretty(call["arguments"]))
    if row is None:
        return ShownCall(tool, arguments)
    result = ShownText.of(row.result, pretty_text) if row.result else None
    return ShownCall(tool, arguments, row, result, seconds(row.created_at, row.finished_at))


@admin.register(Turn)
class TurnAdmin(SearchableAdmin):
    list_display = (
        *("created", "state", "error_code", "conversation_of", "owner_of", "the_model", "tokens"),
        *("first_token", "duration", "attempt", "the_worker"),
    )
    list_filter = ("status", CreatedFilter, ModelFilter, ErrorCodeFilter)
    list_select_related = ("session__owner",)
    sortable_by = ("created",)
    fields = (
        *("id", "conversation_of", "owner_of", "events", "state", "position", "attempt", "lost_leases", "steps"),
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
            "hinted_at",
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


@admin.register(Message)
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
    )
    list_filter = ("role", CreatedFilter, "interrupted")
    list_select_related = ("session__owner",)
    sortable_by = ("created",)
    fields = (
        *("id", "conversation_of", "owner_of", "turn_of", "role", "text", "calls", "the_tool_call_id", "interrupted"),
        *("number", "created_at"),
    )
    the_tool_call_id = shown("tool_call_id")

    @admin.display(description="text")
    def beginning(self, message: Message) -> SafeString:
        """Return how the text begins."""
        return format_html("<bdi>{}</bdi>", shortened(message.content) or "–")

    @admin.display(description="text")
    def text(self, message: Message) -> SafeString:
        """Return the whole text."""
        return block(visible(message.content))

    @admin.display(description="tool calls")
    def calls(self, message: Message) -> SafeString:
        """Return the calls the message asked for."""
        return block(pretty(message.tool_calls) if message.tool_calls else "")


@admin.register(ToolCall)
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
            "requires_approval",
        ),
        *("state", "shown_result", "took", "created_at", "finished_at"),
    )
    the_tool = shown("tool")
    the_call_id = shown("call_id")

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


@admin.register(Event)
class EventAdmin(SearchableAdmin):
    list_display = ("number", "kind", "summary", "conversation_of", "owner_of", "turn_of", "attempt", "at")
    list_filter = ("kind", CreatedFilter)
    list_select_related = ("session__owner",)
    sortable_by = ()
    fields = (
        *("id", "conversation_of", "owner_of", "turn_of", "number", "kind", "attempt", "shown_payload"),
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


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    ordering = ("-seen_at",)
    list_display = ("the_name", "is_alive", "seen_at", "running_turns", "started_at")
    search_fields = ("name",)
    fields = ("the_name", "is_alive", "seen_at", "running_turns", "started_at")
    the_name = shown("name")

    @admin.display(description="alive", boolean=True)
    def is_alive(self, worker: Worker) -> bool:
        """Say whether the worker reported lately."""
        return worker.seen_at > timezone.now() - Worker.SILENCE
