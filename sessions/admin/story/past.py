"""Time travel: a session as it was at one of its events, folded from all events up to there.

Texts of messages are read only for those that are shown, and pieces only of what was unfinished then.
"""

import json
import uuid
from collections.abc import Iterable
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import JSONField, Q
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from sessions.admin.display import escape_controls, pretty, shorten, show_time
from sessions.admin.story.entry import Entry, Text, cut, cut_arguments
from sessions.admin.story.page import number_of, require_story
from sessions.events.fold import FoldedSession, fold
from sessions.events.log import LoggedEvent
from sessions.events.stored_text import PAYLOAD, decode
from sessions.models import PIECES, Event, EventKind, Session

#: Events of one session that are folded, without pieces of texts.
MAX_FOLDED_EVENTS = 50_000
#: Pieces of unfinished texts that are read: a step has fewer.
MAX_PIECES = 50_000
#: The newest messages then, which the page shows.
MAX_SHOWN_MESSAGES = 50
#: The payload of an event without the texts of a message.
_LIGHT = """
    CASE WHEN kind = 'message_added' THEN payload - ARRAY['content', 'reasoning', 'from_message'] ELSE payload END
"""
#: Fields of a message that one of its events alone may have changed.
_TEXTS = ("content", "reasoning")


def past_page(site: AdminSite, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Return the page of a session at the event `at`, by default its newest."""
    require_story(site, request)
    session = get_object_or_404(Session.objects.select_related("owner"), pk=session_id)
    asked = number_of(request, "at")
    at = session.last_number if asked is None else min(asked, session.last_number)
    events = read_events(session, at)
    state = session_at(session, at, events) if len(events) <= MAX_FOLDED_EVENTS else None
    event = Event.objects.filter(session=session, number__gte=at).order_by("number").defer("payload").first()
    context = {
        **site.each_context(request),
        "opts": Session._meta,
        "title": shorten(session),
        "session": session,
        "at": at,
        "event": event,
        "time": show_time(event.created_at) if event else "",
        "state": state,
        "max_events": MAX_FOLDED_EVENTS,
        **(_shown(state) if state else {}),
    }
    return TemplateResponse(request, "admin/agent_sessions/session/past.html", context)


def session_at(session: Session, at: int, events: list[LoggedEvent]) -> FoldedSession:
    """Return the session at an event, from its events without pieces. The newest messages have their texts."""
    switches = [event for event in events if event.kind == EventKind.AGENT_SWITCHED]
    state = fold(events, agent=switches[0].payload["from_agent"] if switches else _first_agent(session))
    started = max((event.number for event in events if event.kind == EventKind.TURN_STARTED), default=0)
    if any(turn["status"] == "running" for turn in state.turns.values()):
        for piece in _read_pieces(session, started, at):
            state.apply(piece)
    state.number = at
    _add_texts(session, state, events)
    return state


def _first_agent(session: Session) -> str:
    """Return the agent that a session without a switch up to some event had: that of the next switch, or its own."""
    switch = Event.objects.filter(session=session, kind=EventKind.AGENT_SWITCHED).order_by("number").first()
    return str(switch.payload["from_agent"]) if switch else session.current_agent


def read_events(session: Session, at: int) -> list[LoggedEvent]:
    """Return the events up to a number, without pieces and without the texts of messages; one more than the limit."""
    events = Event.objects.filter(session=session, number__lte=at).exclude(kind__in=PIECES).order_by("number")
    rows = events.annotate(light=RawSQL(_LIGHT, (), output_field=JSONField())).values_list("number", "kind", "light")
    return [
        LoggedEvent(session.pk, number, kind, {**decode(payload), "number": number})
        for number, kind, payload in rows[: MAX_FOLDED_EVENTS + 1]
    ]


def _read_pieces(session: Session, after: int, at: int) -> Iterable[LoggedEvent]:
    """Yield the pieces of texts after the begin of a step. A compacted one is cut at the event."""
    pieces = Event.objects.filter(session=session, kind__in=PIECES, number__gt=after)
    pieces = pieces.filter(Q(number__lte=at) | Q(first__lte=at)).order_by("number")
    whole = pieces.annotate(whole=RawSQL(PAYLOAD, (), output_field=JSONField()))
    for number, first, kind, payload in whole.values_list("number", "first", "kind", "whole")[:MAX_PIECES]:
        if first is not None and number > at:
            end = payload["ends"][at - first]
            yield LoggedEvent(session.pk, at, kind, {**payload, "text": payload["text"][:end]})
        else:
            yield LoggedEvent(session.pk, number, kind, payload)


def _add_texts(session: Session, state: FoldedSession, events: list[LoggedEvent]) -> None:
    """Read the texts of the newest messages. One that was edited has its text already."""
    shown = {each["number"]: each for each in state.ordered_messages()[-MAX_SHOWN_MESSAGES:]}
    rows = Event.objects.filter(session=session, number__in=shown)
    for number, payload in rows.annotate(whole=RawSQL(PAYLOAD, (), output_field=JSONField())).values_list(
        "number", "whole"
    ):
        texts = {name: payload[name] for name in _TEXTS if name in payload}
        state.messages[shown[number]["message_id"]] = {**texts, **shown[number]}


def _shown(state: FoldedSession) -> dict[str, Any]:
    """Return what the page shows of a state."""
    messages = state.ordered_messages()
    return {
        "older": max(0, len(messages) - MAX_SHOWN_MESSAGES),
        "session_messages": [_message(each) for each in messages[-MAX_SHOWN_MESSAGES:]],
        "unfinished": [_unfinished(each) for each in state.texts.values()],
        "calls": [_call(each) for each in state.calls.values()],
        "turns": state.open_turns(),
        "others": [
            cut(name, pretty(json.loads(json.dumps(value))), layout=str, is_code=True, is_open=False)
            for name, value in (("Plan", state.plan), ("Workspace", state.workspace), ("Summary", state.summary))
            if value
        ],
    }


def _message(message: dict[str, Any]) -> Entry:
    entry = Entry(message["role"].capitalize(), number=message["number"], role=message["role"])
    if message.get("reasoning"):
        entry.texts.append(cut("Reasoning", message["reasoning"], is_open=False))
    if message.get("content"):
        entry.texts.append(cut("", message["content"], is_code=message["role"] == "tool"))
    for call in message.get("tool_calls", ()):
        label = f"Calls {escape_controls(call['name'])}"
        entry.texts.append(cut_arguments(label, call["arguments"]))
    return entry


def _unfinished(text: dict[str, str]) -> Entry:
    texts: list[Text] = [cut("Reasoning", text["reasoning"])] if text.get("reasoning") else []
    return Entry("Unfinished answer", role="assistant", texts=[*texts, cut("", text["text"])])


def _call(call: dict[str, Any]) -> Entry:
    title = f"{escape_controls(call['tool'])} {'needs approval' if call['requires_approval'] else 'has no result yet'}"
    arguments = cut_arguments("Arguments", call["arguments"])
    return Entry(title, role="tool", facts=[("Reason", escape_controls(call["reason"]))], texts=[arguments])
