"""What the HTTP APIs share: the caller's own things, and how a stream is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Schema

from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Session
from sessions.protocol import MAX_KEY_LENGTH, ErrorCode, require_clean_text
from sessions.turns.sessions import owned_session


class ErrorOut(Schema):
    """Why a request was not served."""

    error: str
    error_code: str


#: What PostgreSQL's bigint can hold.
MAX_NUMBER = 2**63 - 1


#: More rows than anybody has.
MAX_OFFSET = 10**9


ERRORS = {400: ErrorOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut, 429: ErrorOut, 503: ErrorOut}


def owner(request: HttpRequest) -> AbstractBaseUser:
    """Return the user that the API's authentication has found."""
    return cast(AbstractBaseUser, request.auth)  # type: ignore[attr-defined]


async def owned(request: HttpRequest, key: str) -> Session:
    """Return the caller's session with this name; somebody else's looks exactly like a missing one."""
    session = await in_thread(owned_session)(owner(request).pk, key)
    if session is None:
        raise no_session(key)
    return session


def require_clean(*texts: str) -> None:
    """Raise FrameError for texts that cannot be stored."""
    for text in texts:
        require_clean_text(text)


def no_session(key: str) -> NotFound:
    """Return the error for a session that does not exist or belongs to another user."""
    return NotFound(ErrorCode.SESSION_NOT_FOUND, f"You have no session `{key[:MAX_KEY_LENGTH]}`.")


def writable_of(request: HttpRequest) -> asyncio.Event | None:
    """Return the event that is set while the client reads; only `codelab.web_server` has one."""
    writable: asyncio.Event | None = getattr(request, "scope", {}).get("writable")
    return writable


def streamed(lines: AsyncGenerator[str], content_type: str) -> StreamingHttpResponse:
    """Return an answer whose lines are sent as they come, past caches and the buffers of proxies."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(lines, content_type=content_type, headers=headers)
