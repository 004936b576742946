"""A session as people read it, from its first word to its last: what the operators come for.

Some turns at a time, with all they hold, in as many queries for many as for one. It never shows a text of any length,
nor one that is not made safe to look at; the page of the row has what is left out.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from sessions.admin.display import pictures_of, pretty, pretty_text, seconds, shortened, visible
from sessions.models import Message, MessageRole, Session, ToolCall, Turn

TURNS_PER_PAGE = 100
#: Characters of one text that the conversation shows; the rest is a click away.
SHOWN_CHARACTERS = 20_000


def conversation_page(site: AdminSite, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Show a session from its first word to its last, some turns a page; without a number, the newest page."""
    shown = (Session, Turn, Message, ToolCall)
    if not all(site.get_model_admin(model).has_view_permission(request) for model in shown):
        raise PermissionDenied
    session = get_object_or_404(Session.objects.select_related("owner"), pk=session_id)
    pages = Paginator(session.turns.order_by("position"), TURNS_PER_PAGE)
    page = pages.get_page(request.GET.get("page", pages.num_pages))
    context = {
        **site.each_context(request),
        "opts": Session._meta,
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
    reasoning: ShownText
    calls: list[ShownCall]
    #: Links to the pictures that it shows.
    pictures: str


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
        ShownMessage(
            row,
            content=ShownText.of(row.content),
            reasoning=ShownText.of(row.reasoning),
            calls=[call_shown(call, calls) for call in row.tool_calls],
            pictures=pictures_of(row) if row.images else "",
        )
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
