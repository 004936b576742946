"""Describes an error for every API: code, sentence, HTTP status, close code. The APIs only render it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from ninja.errors import HttpError, ValidationError

from sessions.database import describe, is_temporary, is_unstorable
from sessions.errors import AccessDenied, BodyTooLarge, InternalError, NotFound, SessionDeleted, TurnFailed
from sessions.models import Session, new_id
from sessions.protocol.codes import CloseCode, ErrorCode, Rejected

logger = structlog.get_logger(__name__)

#: The HTTP status of each code: of ours, and of the model's (`llm.errors`).
STATUS: dict[str, int] = {
    ErrorCode.INVALID_JSON: 400,
    ErrorCode.NOT_AN_OBJECT: 400,
    ErrorCode.UNKNOWN_TYPE: 400,
    ErrorCode.INVALID_FIELD: 400,
    ErrorCode.INVALID_TEXT: 400,
    ErrorCode.EMPTY_MESSAGE: 400,
    ErrorCode.HELLO_FIRST: 400,
    ErrorCode.BINARY_FRAME: 400,
    ErrorCode.INVALID_SESSION_KEY: 400,
    ErrorCode.INVALID_WORKSPACE: 400,
    ErrorCode.INVALID_IMAGE: 400,
    ErrorCode.INVALID_ARGUMENTS: 400,
    ErrorCode.INVALID_TOOLS: 400,
    ErrorCode.UNKNOWN_AGENT: 400,
    ErrorCode.TOO_EXPENSIVE: 400,
    ErrorCode.TOO_MANY_STEPS: 400,
    ErrorCode.REPEATED_CALLS: 400,
    ErrorCode.PRICE_UNKNOWN: 400,
    ErrorCode.CANCELLED: 400,
    "model_context_too_long": 400,
    "model_refused": 400,
    "model_address_refused": 400,
    ErrorCode.NOT_SIGNED_IN: 401,
    ErrorCode.TOKEN_EXPIRED: 401,
    ErrorCode.TOKEN_INVALID: 401,
    # Clients repeat 429 and 5xx by themselves, and this does not pass.
    "model_out_of_credit": 402,
    ErrorCode.INSUFFICIENT_SCOPE: 403,
    ErrorCode.ORIGIN_NOT_ALLOWED: 403,
    ErrorCode.PROVIDER_KEY_REFUSED: 403,
    ErrorCode.PROVIDER_KEY_UNREADABLE: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.SESSION_NOT_FOUND: 404,
    ErrorCode.SESSION_DELETED: 404,
    ErrorCode.PROJECT_NOT_FOUND: 404,
    ErrorCode.RULE_NOT_FOUND: 404,
    ErrorCode.MESSAGE_NOT_FOUND: 404,
    ErrorCode.UNKNOWN_TOOL_CALL: 404,
    ErrorCode.UNKNOWN_PLAN: 404,
    ErrorCode.UNKNOWN_PROVIDER: 404,
    ErrorCode.PROVIDER_KEY_NOT_FOUND: 404,
    "model_not_found": 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.IMAGE_NOT_FOUND: 409,
    ErrorCode.IMAGE_STORAGE_FULL: 409,
    ErrorCode.MESSAGE_BEGUN: 409,
    ErrorCode.NOT_REPLACEABLE: 409,
    ErrorCode.PLAN_IN_PROGRESS: 409,
    ErrorCode.AGENTS_ARE_FIXED: 409,
    ErrorCode.APPROVAL_DECIDED: 409,
    ErrorCode.TOOL_CALL_FINISHED: 409,
    ErrorCode.NOTHING_TO_CANCEL: 409,
    ErrorCode.TOO_MANY_RULES: 409,
    ErrorCode.TOO_MANY_PINNED: 409,
    ErrorCode.BODY_TOO_LARGE: 413,
    ErrorCode.FRAME_TOO_LARGE: 413,
    ErrorCode.IMAGE_TOO_LARGE: 413,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.TOO_MANY_FRAMES: 429,
    ErrorCode.BUDGET_EXHAUSTED: 429,
    "model_rate_limited": 429,
    ErrorCode.INTERNAL_ERROR: 500,
    ErrorCode.TOO_MANY_ATTEMPTS: 500,
    "model_error": 502,
    "model_not_authorized": 502,
    "model_truncated": 502,
    "model_answer_too_long": 502,
    "model_broken_tool_call": 502,
    "model_said_nothing": 502,
    ErrorCode.STORAGE_UNAVAILABLE: 503,
    ErrorCode.BROKER_UNAVAILABLE: 503,
    ErrorCode.SHUTTING_DOWN: 503,
    "model_unavailable": 503,
    ErrorCode.SEARCH_TIMED_OUT: 503,
    ErrorCode.TURN_TIMED_OUT: 504,
    ErrorCode.TOOL_TIMED_OUT: 504,
    "model_stalled": 504,
    "model_timed_out": 504,
    "model_took_too_long": 504,
}
#: Types with one status, whatever the code: an unknown agent in a path is 404, in a body 400.
STATUS_OF_TYPE: dict[type[Rejected], int] = {NotFound: 404, TurnFailed: 502}
#: The codes that close a socket; all others reject one frame.
CLOSE: dict[str, CloseCode] = {
    ErrorCode.NOT_SIGNED_IN: CloseCode.NOT_SIGNED_IN,
    ErrorCode.TOKEN_EXPIRED: CloseCode.NOT_SIGNED_IN,
    ErrorCode.TOKEN_INVALID: CloseCode.NOT_SIGNED_IN,
    ErrorCode.INSUFFICIENT_SCOPE: CloseCode.NOT_ALLOWED,
    ErrorCode.ORIGIN_NOT_ALLOWED: CloseCode.NOT_ALLOWED,
    ErrorCode.INVALID_SESSION_KEY: CloseCode.INVALID_SESSION_KEY,
    ErrorCode.SESSION_DELETED: CloseCode.SESSION_DELETED,
    ErrorCode.TOO_MANY_FRAMES: CloseCode.TOO_MANY_FRAMES,
    ErrorCode.RATE_LIMITED: CloseCode.RATE_LIMITED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as clients of any API see it."""

    code: str
    text: str
    status: int
    #: The socket is closed with it; without one the socket stays open.
    close_code: CloseCode | None = None
    #: Seconds after which the client may try again.
    retry_after: int | None = None
    #: The field of the request that cannot be used, where it is known.
    param: str | None = None
    #: Further fields of the answer.
    details: Mapping[str, Any] = field(default_factory=dict)


def explain(error: Exception) -> Problem:
    """Return what a client learns of an error. Log faults of the server."""
    param = None
    match error:
        case Rejected():
            rejected = error
        case ValidationError():
            param, text = _invalid_field(error)
            is_workspace = error.errors[0]["loc"][:2] == ("body", "workspace")
            rejected = Rejected(ErrorCode.INVALID_WORKSPACE if is_workspace else ErrorCode.INVALID_FIELD, text)
        case HttpError():
            rejected = Rejected(ErrorCode.INVALID_JSON, "The body is not a JSON object.")
        case RequestDataTooBig():
            rejected = BodyTooLarge(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        case Session.DoesNotExist():
            # It existed a moment ago.
            rejected = NotFound(ErrorCode.SESSION_NOT_FOUND, str(SessionDeleted()))
        case _ if is_unstorable(error):
            # The checks of the input should have found it.
            logger.warning("value_not_stored", **describe(error))
            text = "A value cannot be stored: it has a character, a number or a size that the database refuses."
            rejected = Rejected(ErrorCode.INVALID_FIELD, text)
        case _ if is_temporary(error) or isinstance(error, TimeoutError):
            logger.warning("request_not_stored", error=type(error).__name__)
            text = "The server cannot store anything at the moment. Nothing was accepted: send it again in a moment."
            rejected = Rejected(ErrorCode.STORAGE_UNAVAILABLE, text)
        case _:
            error_id = new_id()
            logger.error("request_crashed", error_id=str(error_id), **describe(error))
            rejected = InternalError(error_id)
    ends_socket = rejected.ends_socket if isinstance(rejected, AccessDenied) else True
    return Problem(
        code=rejected.code,
        text=str(rejected),
        status=STATUS_OF_TYPE.get(type(rejected)) or STATUS[rejected.code],
        close_code=CLOSE.get(rejected.code) if ends_socket else None,
        retry_after=rejected.retry_after,
        param=param,
        details=rejected.details if isinstance(rejected, TurnFailed) else {},
    )


def _invalid_field(error: ValidationError) -> tuple[str, str]:
    """Return the name of the invalid field, and the reason."""
    problem = error.errors[0]
    # ("query", name) or ("body", parameter, name …): clients know neither our parameters nor these places.
    where, *names = problem["loc"]
    place = ".".join(map(str, names[1:] if where == "body" else names)) or "body"
    return place, f"Field `{place}` is not usable: {problem['msg']}."
