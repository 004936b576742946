"""A session as a conversation, from its first message to its last.

Shows a page of turns with everything that belongs to them, in the same number of queries for one turn as for many.
Long texts are cut, and control characters are escaped; the page of the row has the whole text.
"""

import uuid
from dataclasses import dataclass
from typing import Any, Self

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from sessions.admin.display import escape_controls, format_duration, image_links, pretty_arguments, pretty_text, shorten
from sessions.admin.workspace import workspace_link
from sessions.models import Message, MessageRole, Session, Summary, ToolCall, Turn

TURNS_PER_PAGE = 100
#: Longest text that the conversation shows whole; the page of the row has the rest.
MAX_TEXT_CHARACTERS = 20_000


def conversation_page(site: AdminSite, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Return the page of a session with TURNS_PER_PAGE turns; without a page number, the newest ones."""
    models = (Session, Turn, Message, ToolCall)
    if not all(site.get_model_admin(model).has_view_permission(request) for model in models):
        raise PermissionDenied
    session = get_object_or_404(Session.objects.select_related("owner"), pk=session_id)
    pages = Paginator(session.turns.order_by("position"), TURNS_PER_PAGE)
    page = pages.get_page(request.GET.get("page", pages.num_pages))
    context = {
        **site.each_context(request),
        "opts": Session._meta,
        "title": shorten(session),
        "session": session,
        "workspace": workspace_link(session),
        "page": page,
        "numbers": pages.get_elided_page_range(page.number),
        "turns": turn_views(list(page)),
    }
    return TemplateResponse(request, "admin/agent_sessions/session/conversation.html", context)


@dataclass(frozen=True, slots=True)
class TextView:
    """A text for display, and how many of its characters are not shown."""

    text: str
    hidden_characters: int = 0

    @classmethod
    def of(cls, text: str, layout: Any = escape_controls) -> Self:
        """Return a view of the text, cut if it is too long for the page."""
        if len(text) > MAX_TEXT_CHARACTERS:
            return cls(escape_controls(text[:MAX_TEXT_CHARACTERS]), len(text) - MAX_TEXT_CHARACTERS)
        return cls(layout(text))


@dataclass(frozen=True, slots=True)
class CallView:
    """A tool call. It has no row if the turn ended before the call was stored."""

    tool: str
    arguments: TextView
    row: ToolCall | None = None
    result: TextView | None = None
    duration: str = "–"


@dataclass(frozen=True, slots=True)
class MessageView:
    row: Message
    content: TextView
    surroundings: TextView
    reasoning: TextView
    calls: list[CallView]
    #: Links to its images.
    images: str


@dataclass(frozen=True, slots=True)
class TurnView:
    row: Turn
    facts: list[tuple[str, object]]
    messages: list[MessageView]
    #: Those that the turn made, each with the number of messages that it stands for.
    summaries: list[tuple[int, TextView]]
    error: str


def turn_views(turns: list[Turn]) -> list[TurnView]:
    """Return the turns with their messages, calls and summaries. Three queries for any number of turns."""
    messages: dict[uuid.UUID, list[Message]] = {turn.pk: [] for turn in turns}
    # A steered message stands where the model has read it.
    for message in Message.objects.filter(turn__in=turns).order_by(Coalesce("read_number", "number"), "number"):
        messages[message.turn_id].append(message)
    calls: dict[uuid.UUID, dict[str, ToolCall]] = {turn.pk: {} for turn in turns}
    for call in ToolCall.objects.filter(turn__in=turns):
        calls[call.turn_id][call.call_id] = call
    summaries: dict[uuid.UUID, list[tuple[int, TextView]]] = {turn.pk: [] for turn in turns}
    for summary in Summary.objects.filter(turn__in=turns).order_by("pk"):
        summaries[summary.turn_id].append((summary.messages, TextView.of(summary.text)))
    return [
        TurnView(
            turn,
            turn_facts(turn),
            message_views(messages[turn.pk], calls[turn.pk]),
            summaries[turn.pk],
            escape_controls(turn.error),
        )
        for turn in turns
    ]


def turn_facts(turn: Turn) -> list[tuple[str, object]]:
    """Return the facts in the heading of a turn."""
    return [
        ("Model", escape_controls(turn.model) or "–"),
        ("Tokens", f"{turn.input_tokens} in, {turn.output_tokens} out"),
        ("First token after", format_duration(turn.created_at, turn.first_token_at)),
        ("Duration", format_duration(turn.created_at, turn.finished_at)),
        ("Attempt", turn.attempt),
        *([("Waits for the provider until", f"{turn.retry_at:%H:%M:%S} UTC")] if turn.retry_at else []),
        ("Worker", escape_controls(turn.worker) or "–"),
    ]


def message_views(messages: list[Message], calls: dict[str, ToolCall]) -> list[MessageView]:
    """Return a turn's messages. The result of a tool is part of its call, not a message of its own."""
    return [
        MessageView(
            row,
            content=TextView.of(row.content),
            surroundings=TextView.of(row.surroundings),
            reasoning=TextView.of(row.reasoning),
            calls=[call_view(call, calls) for call in row.tool_calls],
            images=image_links(row) if row.images else "",
        )
        for row in messages
        if not (row.role == MessageRole.TOOL and row.tool_call_id in calls)
    ]


def call_view(call: dict[str, Any], rows: dict[str, ToolCall]) -> CallView:
    """Return a call as the model requested it, with its result."""
    row = rows.get(call["id"])
    tool, arguments = escape_controls(call["name"]), TextView.of(pretty_arguments(call["arguments"]))
    if row is None:
        return CallView(tool, arguments)
    result = TextView.of(row.result, pretty_text) if row.result else None
    return CallView(tool, arguments, row, result, format_duration(row.created_at, row.finished_at))
