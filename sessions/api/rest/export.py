"""A session as a document: Markdown for people, JSON for programs.

It is streamed, a few messages at a time, so that a session of any length takes little memory.
"""

import json
import re
import uuid
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Literal
from urllib.parse import quote

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router
from ninja.responses import NinjaJSONEncoder

from sessions.api.http import ERRORS, owner, session_of, stream_response
from sessions.api.rest import history
from sessions.api.rest.schemas import SessionOut
from sessions.api.streaming import counted, open_streams, until_signed_out
from sessions.callers import caller_of
from sessions.database import in_thread
from sessions.models import Session

router = Router()

#: Of a page in memory. It ends earlier when the messages are long (`history.MAX_PAGE_BYTES`).
PAGE_MESSAGES = 100
MAX_NAME_LENGTH = 80

type Row = dict[str, Any]
type Format = Literal["markdown", "json"]

CONTENT_TYPES = {"markdown": "text/markdown; charset=utf-8", "json": "application/json"}
EXTENSIONS = {"markdown": "md", "json": "json"}


@router.get("/sessions/{path:session_id}/export", response={200: None, **ERRORS}, tags=["sessions"])
async def export_session(request: HttpRequest, session_id: str, format: Format = "markdown") -> StreamingHttpResponse:  # noqa: A002  # the name of the parameter
    """Return a session with all of its messages as a file, in Markdown or JSON."""
    session = await session_of(request, session_id)
    user_id = owner(request).pk
    open_streams.require_free(user_id)
    shown = await in_thread(history.sessions_of(user_id).get)(pk=session.pk)
    facts = _plain(SessionOut.from_orm(shown).model_dump(exclude_none=True))
    write = _markdown if format == "markdown" else _json
    parts = until_signed_out(counted(write(facts, session), user_id), caller_of(request))
    response = stream_response(parts, CONTENT_TYPES[format])
    response["Content-Disposition"] = _disposition(session.title or session.key, EXTENSIONS[format])
    return response


def _disposition(title: str, extension: str) -> str:
    """Return the header that names the file, also for browsers that only read ASCII."""
    name = (
        " ".join(re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*%]+', " ", title).split())[:MAX_NAME_LENGTH].strip(" .") or "session"
    )
    ascii_name = re.sub(r"[^ -~]+", "_", name)
    return f"attachment; filename=\"{ascii_name}.{extension}\"; filename*=UTF-8''{quote(name)}.{extension}"


async def _pages(session: Session) -> AsyncGenerator[list[Row]]:
    """Yield all messages, oldest first, a page at a time."""
    after: uuid.UUID | None = None
    has_more = True
    while has_more:
        page, has_more = await in_thread(_read_page)(session, after)
        if page:
            after = uuid.UUID(page[-1]["id"])
            yield page


def _read_page(session: Session, after: uuid.UUID | None) -> tuple[list[Row], bool]:
    messages, has_more = history.page_after(session, after, limit=PAGE_MESSAGES)
    return [_plain(message.model_dump(by_alias=True, exclude_none=True)) for message in messages], has_more


def _plain(fields: Row) -> Row:
    """Return the fields as JSON has them."""
    return dict(json.loads(json.dumps(fields, cls=NinjaJSONEncoder)))


async def _json(facts: Row, session: Session) -> AsyncGenerator[str]:
    yield f'{{"session": {json.dumps(facts, ensure_ascii=False)}, "messages": ['
    separator = "\n"
    async for page in _pages(session):
        yield separator + ",\n".join(json.dumps(row, ensure_ascii=False) for row in page)
        separator = ",\n"
    yield "\n]}\n"


async def _markdown(facts: Row, session: Session) -> AsyncGenerator[str]:
    title = " ".join(str(facts["title"] or facts["session_id"]).split())
    about = f"agent {facts['current_agent']}, begun {facts['created_at']}"
    yield f"# {title}\n\nSession `{facts['session_id']}`, {about}\n"
    async for page in _pages(session):
        yield "".join(f"\n{line}" for row in page for line in ("", *_lines(row))) + "\n"


def _lines(message: Row) -> Iterator[str]:
    """Yield the lines of a message. What tools say is fenced, so that nothing in it is read as a heading."""
    role, content = message["role"], message["content"]
    when = f" ({message['created_at']})"
    if role == "tool":
        yield f"**Result of {message.get('name') or 'a tool'}**{when}"
        yield from ["", *_fenced(_pretty(content), "json" if content[:1] in ("{", "[") else "")]
        return
    yield f"## {role.capitalize()}{when}"
    if content:
        yield from ["", content]
    for image in message.get("images") or ():
        yield from ["", f"Image `{image['image_id']}`, {image['media_type']}, {image['bytes']} bytes."]
    for call in message.get("tool_calls") or ():
        note = ", changed by a person" if call.get("edited") else ""
        yield from ["", f"**Call of {call['function']['name']}**{note}", ""]
        yield from _fenced(json.dumps(call["function"]["arguments"], ensure_ascii=False, indent=2), "json")


def _pretty(content: str) -> str:
    try:
        return json.dumps(json.loads(content), ensure_ascii=False, indent=2)
    except ValueError:
        return content


def _fenced(text: str, language: str = "") -> Iterator[str]:
    """Yield the lines of a code block with a fence that the text cannot close."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    yield f"{fence}{language}"
    yield text
    yield fence
