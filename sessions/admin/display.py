"""Formats texts, JSON, times, statuses and links for all pages of the admin.

All text of users, models and clients passes through here. No function reads the database or marks foreign text as safe
HTML.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote as quote_key
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from agents.display import show_arguments, show_hidden
from sessions.models import Image, Message, Session


def escape_controls(text: object) -> str:
    """Return the text with its invisible characters, and those that change the order of others, made visible."""
    return show_hidden(str(text).replace("\r\n", "\n"))


def shorten(text: object, length: int = 80) -> str:
    """Return the beginning of the text as one line."""
    line = " ".join(escape_controls(str(text)[: length + 1]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def pretty(value: object) -> str:
    """Return the value as indented JSON."""
    return escape_controls(json.dumps(value, indent=2, ensure_ascii=False))


def pretty_arguments(arguments: dict[str, Any]) -> str:
    """Return the arguments of a call as indented JSON for people who decide about it."""
    return pretty(show_arguments(arguments))


def pretty_calls(calls: list[dict[str, Any]]) -> str:
    """Return the calls of a message as indented JSON, their arguments as people read them."""
    return pretty([{**call, "arguments": show_arguments(call["arguments"])} for call in calls])


def pretty_text(text: str) -> str:
    """Return the text, indented if it is JSON."""
    try:
        return pretty(json.loads(text))
    except ValueError:
        return escape_controls(text)


def image_links(message: Message) -> SafeString | str:
    """Return links to the images of a message, without reading them."""
    images = [Image(pk=each["image_id"]) for each in message.images or ()]
    return format_html_join(", ", "{}", ((link(image, f"image {n}"),) for n, image in enumerate(images, 1))) or "–"


def block(text: str) -> SafeString:
    """Return a block that keeps the text's spaces and line ends."""
    return format_html('<pre class="verbatim">{}</pre>', text) if text else SafeString("–")


def format_duration(start: datetime | None, end: datetime | None) -> str:
    """Return the time between two moments, or a dash."""
    return "–" if start is None or end is None else format_timedelta(end - start)


def format_timedelta(duration: timedelta | None) -> str:
    """Return a duration as people read it, or a dash.

    It may be negative by a little: two processes, or two lines of one, may have read the clock the other way round.
    """
    if duration is None:
        return "–"
    seconds = duration.total_seconds()
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else str(timedelta(seconds=round(seconds)))


def format_wait(duration: timedelta) -> str:
    """Return the sum of some durations, or a dash where there is none."""
    return format_timedelta(duration) if duration else "–"


def format_skew(skew: timedelta | None) -> str:
    """Return how far a clock is ahead, with its sign."""
    return "–" if skew is None else f"{skew.total_seconds() * 1000:+.0f} ms".replace("-0 ms", "+0 ms")


def show_time(moment: datetime) -> SafeString:
    """Return the exact time; its title says how long ago it was, or when it will be."""
    now = timezone.now()
    seconds = (now - moment).total_seconds()
    earlier, later = (moment, now) if seconds >= 0 else (now, moment)
    text = f"{abs(seconds):.0f} seconds" if abs(seconds) < 60 else timesince(earlier, later, depth=1)
    exact, iso = format_utc(moment), moment.astimezone(UTC).isoformat()
    title = f"{text} ago" if seconds >= 0 else f"in {text}"
    return format_html('<time class="moment" datetime="{}" title="{}">{}</time>', iso, title, exact)


def format_utc(moment: datetime) -> str:
    """Return a moment in UTC, to the second, with its zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def badge(status: str) -> SafeString:
    """Return a status as coloured text (admin.css has the colours)."""
    return format_html('<span class="state state-{}">{}</span>', status, status)


def link(row: Model, text: object) -> SafeString:
    """Return a link to the page of a row."""
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote_key(row.pk)])
    return format_html('<a href="{}">{}</a>', url, text)


def task_link(task_id: str) -> SafeString | str:
    """Return a Celery task as a link to Flower, where its address is known; a dash when no task brought the turn."""
    return _flower_link("task", task_id)


def worker_link(name: str) -> SafeString | str:
    """Return a worker's name as a link to Flower, where its address is known."""
    return _flower_link("worker", name)


def _flower_link(kind: str, name: str) -> SafeString | str:
    if not name or not settings.CODELAB_FLOWER_URL:
        return format_html("<bdi>{}</bdi>", escape_controls(name)) if name else "–"
    url = f"{settings.CODELAB_FLOWER_URL}/{kind}/{quote(name, safe='@')}"
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, escape_controls(name))


def conversation_link(session: Session) -> SafeString:
    """Return a link to the conversation; its text is the session's title or key."""
    url = reverse("admin:agent_sessions_session_conversation", args=[session.pk])
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, shorten(session, 60))


def column(description: str, show: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return an admin method that shows something of a row."""
    return admin.display(description=description)(lambda _admin, row: show(row))


def text_column(name: str) -> Callable[[Any, Any], Any]:
    """Return an admin method that shows a column of foreign text."""
    return column(
        name.replace("_", " "), lambda row: format_html("<bdi>{}</bdi>", escape_controls(getattr(row, name)) or "–")
    )
