"""What the HTTP doors share: the caller's own things, and the answer for what cannot be served."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from ninja import Schema

from sessions import protocol
from sessions.database import in_thread
from sessions.errors import ToolCallRefused
from sessions.models import Session
from sessions.protocol import (
    MAX_KEY_LENGTH,
    ErrorCode,
    FrameError,
)
from sessions.turns.sessions import owned_session


class ErrorOut(Schema):
    """Why a request was not served."""

    error: str
    error_code: str


#: What PostgreSQL's bigint can hold.
MAX_NUMBER = 2**63 - 1


#: More rows than anybody has.
MAX_OFFSET = 10**9


class ApiError(Exception):
    """A request that cannot be served, with the status and code of its answer."""

    def __init__(self, status: int, code: str, text: str, **details: Any) -> None:
        super().__init__(text)
        self.status, self.code, self.details = status, code, details


ERRORS = {400: ErrorOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut, 429: ErrorOut, 503: ErrorOut}


def owner(request: HttpRequest) -> AbstractBaseUser:
    """Return the user that the API's authentication has found."""
    return cast(AbstractBaseUser, request.auth)  # type: ignore[attr-defined]


async def owned(request: HttpRequest, key: str) -> Session:
    """Return the caller's session with this name; somebody else's looks exactly like a missing one."""
    session = await in_thread(owned_session)(owner(request).pk, key)
    if session is None:
        raise not_found(key)
    return session


def require_clean(*texts: str) -> None:
    """Refuse texts that cannot be stored."""
    try:
        for text in texts:
            protocol.require_clean_text(text)
    except FrameError as error:
        raise ApiError(400, error.code, str(error)) from None


def not_found(key: str) -> ApiError:
    """Return the answer for a session that the caller has not."""
    return ApiError(404, ErrorCode.SESSION_NOT_FOUND, f"You have no session `{key[:MAX_KEY_LENGTH]}`.")


def refused(error: ToolCallRefused) -> ApiError:
    """Return the answer for a call that cannot be answered."""
    status = {ErrorCode.UNKNOWN_TOOL_CALL: 404, ErrorCode.INVALID_ARGUMENTS: 400}.get(error.code, 409)
    return ApiError(status, error.code, str(error))
