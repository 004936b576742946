"""How values look: texts, JSON, times, statuses and links, the same on every page of the admin.

What users, models and clients write passes through here before it is shown. It never asks the database, and never
marks as safe HTML what somebody else wrote.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from sessions.models import Image, Message, Session

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


def pictures_of(message: Message) -> SafeString | str:
    """Return links to the pictures that a message shows, without reading them."""
    shown = [Image(pk=each["image_id"]) for each in message.images or ()]
    return format_html_join(", ", "{}", ((link(image, f"image {n}"),) for n, image in enumerate(shown, 1))) or "–"


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
