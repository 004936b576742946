"""The HTTP APIs' common parts: error schemas, the caller's session, streamed responses."""

import asyncio
import uuid
from collections.abc import AsyncIterable, Iterator
from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, IntegerField, Model, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Schema
from ninja.parser import Parser
from structlog.contextvars import bind_contextvars

from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Message, Session
from sessions.protocol.client import decode_json, require_clean_text
from sessions.protocol.codes import MAX_KEY_LENGTH, ErrorCode, Rejected
from sessions.turns.sessions import owned_session


class JsonParser(Parser):
    """Decodes bodies as strictly as frames: Python's decoder accepts what is not JSON and cannot be stored."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the value of a body. Raises ValueError."""
        return decode_json(request.body)


class ErrorOut(Schema):
    """Why a request was not served."""

    error: str
    error_code: str


class Deleted(Schema):
    """The id of what was deleted."""

    id: uuid.UUID
    status: str = "deleted"


#: PostgreSQL's largest bigint, and its digits: Python refuses to read a number with thousands of them.
MAX_EVENT_NUMBER = 2**63 - 1
MAX_NUMBER_DIGITS = len(str(MAX_EVENT_NUMBER))
#: PostgreSQL refuses offsets above a bigint; no owner has this many rows.
MAX_OFFSET_ROWS = 10**9
#: A list of sessions counts no further. It would read all messages of all of them.
MAX_COUNTED_MESSAGES = 1000
ERRORS = {400: ErrorOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut, 429: ErrorOut, 503: ErrorOut}


def owner(request: HttpRequest) -> AbstractBaseUser:
    """Return the user whom the API has authenticated."""
    return cast(AbstractBaseUser, request.auth)  # type: ignore[attr-defined]


async def session_of(request: HttpRequest, key: str) -> Session:
    """Return the caller's session with this key. Another user's session looks like a missing one."""
    require_clean_text(key)
    session = await in_thread(owned_session)(owner(request).pk, key)
    if session is None:
        raise no_session(key)
    bind_session(session)
    return session


def bind_session(session: Session) -> None:
    """Add the session to the log context: the id of its row, and the name that its client knows."""
    bind_contextvars(session_id=str(session.pk), session_key=session.key)


def last_event_id(request: HttpRequest) -> int:
    """Return the number that a reconnecting stream names in its header, 0 without one. Raises Rejected."""
    text = request.headers.get("Last-Event-ID", "")
    if not text.isdecimal():
        # Clients of other services may send other ids.
        return 0
    if len(text) > MAX_NUMBER_DIGITS:
        limit = f"use a number up to {MAX_EVENT_NUMBER}"
        raise Rejected(ErrorCode.INVALID_FIELD, f"Header `Last-Event-ID` is not usable: {limit}.")
    return int(text)


async def first_of[Row: Model](rows: QuerySet[Row], error: NotFound) -> Row:
    """Return the first row. Raises `error` if there is none."""
    row = await in_thread(rows.first)()
    if row is None:
        raise error
    return row


def counted_messages(messages: QuerySet[Message]) -> Coalesce:
    """Return an expression for the number of a session's messages, MAX_COUNTED_MESSAGES at most."""
    ids = messages.order_by().values("pk")[:MAX_COUNTED_MESSAGES]
    return Coalesce(Func(ArraySubquery(ids), function="cardinality", output_field=IntegerField()), 0)


def require_clean(*texts: str) -> None:
    """Raise FrameError for texts that cannot be stored."""
    for text in texts:
        require_clean_text(text)


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts in a JSON value, keys, too: jsonb cannot store some characters."""
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from texts_in(each)
        case dict():
            for key, each in value.items():
                yield key
                yield from texts_in(each)


def no_session(key: str) -> NotFound:
    """Return the error for a session that does not exist or belongs to another user."""
    return NotFound(ErrorCode.SESSION_NOT_FOUND, f"You have no session `{key[:MAX_KEY_LENGTH]}`.")


def writable_of(request: HttpRequest) -> asyncio.Event | None:
    """Return the event that is set while the client reads, None outside of `codelab.web_server`."""
    writable: asyncio.Event | None = getattr(request, "scope", {}).get("writable")
    return writable


def stream_response(lines: AsyncIterable[str], content_type: str) -> StreamingHttpResponse:
    """Return a response that sends each line at once: neither caches nor proxies keep it back."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(lines, content_type=content_type, headers=headers)
