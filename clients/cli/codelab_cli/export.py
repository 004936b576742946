"""A session as a document: Markdown for people, JSON for programs."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

type Row = dict[str, Any]


def as_markdown(session: Row, messages: Iterable[Row]) -> str:
    """Return a conversation as Markdown. Text of tools is fenced, so that nothing in it is read as a heading."""
    title = " ".join(str(session.get("title") or session.get("session_id")).split())
    facts = f"agent {session.get('current_agent')}, begun {session.get('created_at')}"
    lines = [f"# {title}", "", f"Session `{session.get('session_id')}`, {facts}"]
    for message in messages:
        lines += ["", *_message(message)]
    return "\n".join(lines) + "\n"


def _message(message: Row) -> Iterator[str]:
    role, content = message.get("role"), str(message.get("content") or "")
    when = f" ({message['created_at']})" if message.get("created_at") else ""
    if role == "tool":
        yield f"**Result of {message.get('name') or 'a tool'}**{when}"
        yield from ["", *fenced(_pretty(content), "json" if content[:1] in ("{", "[") else "")]
        return
    yield f"## {str(role).capitalize()}{when}"
    if content:
        yield from ["", content]
    for image in message.get("images") or ():
        yield from ["", f"Image `{image.get('image_id')}`, {image.get('media_type')}, {image.get('bytes')} bytes."]
    for call in message.get("tool_calls") or ():
        function = call.get("function") or call
        note = ", changed by a person" if call.get("edited") else ""
        yield from ["", f"**Call of {function.get('name')}**{note}", ""]
        yield from fenced(json.dumps(function.get("arguments"), ensure_ascii=False, indent=2), "json")


def _pretty(content: str) -> str:
    try:
        return json.dumps(json.loads(content), ensure_ascii=False, indent=2)
    except ValueError:
        return content


def fenced(text: str, language: str = "") -> Iterator[str]:
    """Yield the lines of a code block with a fence that the text cannot close."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    yield f"{fence}{language}"
    yield text
    yield fence


def as_json(session: Row, messages: Iterable[Row]) -> str:
    """Return a session and its messages as JSON."""
    return json.dumps({"session": session, "messages": list(messages)}, ensure_ascii=False, indent=2) + "\n"
