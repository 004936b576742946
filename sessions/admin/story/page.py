"""The pages of a session's story and of a turn's. All queries of a page are bounded, whatever the session has."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from sessions.admin.display import escape_controls, format_duration, format_utc, shorten, task_link
from sessions.admin.story.entries import entries_of
from sessions.admin.story.entry import Entry, Facts
from sessions.admin.story.model_calls import dollars
from sessions.admin.story.rows import Part, Rows, read_part, read_rows, read_turn
from sessions.admin.workspace import workspace_link
from sessions.models import Approval, Message, ModelCall, Session, ToolCall, Turn


@dataclass(slots=True)
class Section:
    """Consecutive entries of one turn, or of none."""

    turn: Any = None
    facts: Facts = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


def story_page(site: AdminSite, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Return a page of a session's story; without a number, the newest events."""
    require_story(site, request)
    session = get_object_or_404(Session.objects.select_related("owner"), pk=session_id)
    part = read_part(session, before=number_of(request, "before"), after=number_of(request, "after"))
    context = {
        **site.each_context(request),
        "opts": Session._meta,
        "title": shorten(session),
        "session": session,
        "workspace": workspace_link(session),
        "part": part,
        "first": part.events[0].number if part.events else 0,
        "last": part.events[-1].number if part.events else 0,
        "sections": sections_of(part, read_rows(part.events)),
    }
    return TemplateResponse(request, "admin/agent_sessions/session/story.html", context)


def require_story(site: AdminSite, request: HttpRequest) -> None:
    """Raise PermissionDenied unless the user may see all that a story is made of."""
    if not may_see_story(site, request):
        raise PermissionDenied


def may_see_story(site: AdminSite, request: HttpRequest) -> bool:
    """Return whether the user may see all that a story is made of."""
    models = (Session, Turn, Message, ToolCall, ModelCall, Approval)
    return all(site.get_model_admin(model).has_view_permission(request) for model in models)


def number_of(request: HttpRequest, name: str) -> int | None:
    """Return a number of an event from the address, or None where it is not one."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def sections_of(part: Part, rows: Rows) -> list[Section]:
    """Return the entries of a part, by turn."""
    sections: list[Section] = []
    for turn_id, entry in entries_of(part.events, rows):
        turn = rows.turns.get(turn_id) if turn_id else None
        if not sections or sections[-1].turn is not turn:
            sections.append(Section(turn, turn_facts(turn) if turn else []))
        sections[-1].entries.append(entry)
    return sections


def turn_context(turn: Turn) -> dict[str, Any]:
    """Return what the page of a turn shows of its story."""
    part = read_turn(turn)
    rows = read_rows(part.events)
    last = part.events[-1].number if part.events else 0
    return {"part": part, "last": last, "session": turn.session, "sections": sections_of(part, rows)}


def turn_facts(turn: Any) -> Facts:
    """Return the facts in the heading of a turn."""
    unpriced = f" and {turn.unpriced_calls} calls without a price" if turn.unpriced_calls else ""
    facts: Facts = [
        ("Model", escape_controls(turn.model) or "–"),
        ("Tokens", f"{turn.input_tokens} in, {turn.output_tokens} out"),
        ("Cost", "–" if turn.cost_so_far is None else f"{dollars(turn.cost_so_far)}{unpriced}"),
        ("First token after", format_duration(turn.created_at, turn.first_token_at)),
        ("Duration", format_duration(turn.created_at, turn.finished_at)),
        ("Attempts", turn.attempt),
        ("Worker", escape_controls(turn.worker) or "–"),
        ("Celery task", task_link(turn.task)),
    ]
    if turn.lost_leases:
        facts.append(("Lost workers in a row", turn.lost_leases))
    if turn.retry_at:
        facts.append(("Waits for the provider until", format_utc(turn.retry_at)))
    if turn.replaced_by:
        facts.append(("", "replaced by another turn"))
    return facts
