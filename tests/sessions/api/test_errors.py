"""What each error is at each API: its code, status and close code."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import DataError, IntegrityError, OperationalError
from django.test import RequestFactory
from ninja.errors import HttpError, ValidationError

from codelab.openai_api import openai_api
from codelab.rest_api import api, plugin_api
from llm.errors import ModelError
from sessions import errors
from sessions.api.errors import CLOSE, STATUS
from sessions.api.websocket.consumers import SessionConsumer
from sessions.database import TooLate
from sessions.errors import (
    AccessDenied,
    BodyTooLarge,
    BrokerUnavailable,
    InternalError,
    NotFound,
    NothingToCancel,
    SessionDeleted,
    StaleAttempt,
    ToolCallRejected,
    TurnFailed,
)
from sessions.models import Session
from sessions.protocol import client
from sessions.protocol.codes import CloseCode, ErrorCode, FrameError, Rejected

TEXT = "A sentence."


def by_http(mounted: Any, error: Exception, path: str = "/") -> tuple[int, Any, Any]:
    """Return the status, body and headers with which an API answers an error."""
    response = mounted.on_exception(RequestFactory().get(path), error)
    return response.status_code, json.loads(response.content), response.headers


async def by_socket(error: Exception, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], int | None]:
    """Return the error frame and the close code with which a socket answers an error of a frame."""

    def decode(_text: str) -> None:
        raise error

    sent: list[dict[str, Any]] = []
    closed: list[int] = []
    socket: Any = SessionConsumer()
    socket.sending = None

    async def send(text: str) -> None:
        sent.append(json.loads(text))

    async def close(code: int) -> None:
        closed.append(code)

    socket.send, socket.close = send, close
    monkeypatch.setattr(client, "decode", decode)
    await socket.receive("{}")
    assert len(sent) == 1
    return sent[0], closed[0] if closed else None


INVALID = [{"type": "x", "loc": ("body", "parameter", "field", 3), "msg": "It is wrong"}]

#: An error, its code, its status by HTTP, and the code with which a socket is closed.
MATRIX: dict[str, tuple[Exception, str, int, int | None]] = {
    "not_signed_in": (AccessDenied(ErrorCode.NOT_SIGNED_IN, TEXT), "not_signed_in", 401, 4401),
    "expired": (AccessDenied(ErrorCode.TOKEN_EXPIRED, TEXT), "TOKEN_EXPIRED", 401, 4401),
    "invalid token": (AccessDenied(ErrorCode.TOKEN_INVALID, TEXT), "TOKEN_INVALID", 401, 4401),
    "origin": (AccessDenied(ErrorCode.ORIGIN_NOT_ALLOWED, TEXT), "origin_not_allowed", 403, 4403),
    "no scope for a frame": (
        AccessDenied(ErrorCode.INSUFFICIENT_SCOPE, TEXT, ends_socket=False),
        "insufficient_scope",
        403,
        None,
    ),
    "no scope for a socket": (AccessDenied(ErrorCode.INSUFFICIENT_SCOPE, TEXT), "insufficient_scope", 403, 4403),
    "too many frames": (
        AccessDenied(ErrorCode.RATE_LIMITED, TEXT, retry_after=7, ends_socket=False),
        "rate_limited",
        429,
        None,
    ),
    "too many sockets": (AccessDenied(ErrorCode.RATE_LIMITED, TEXT, retry_after=7), "rate_limited", 429, 4429),
    "agent": (Rejected(ErrorCode.UNKNOWN_AGENT, TEXT), "unknown_agent", 400, None),
    "message gone": (Rejected(ErrorCode.MESSAGE_NOT_FOUND, TEXT), "message_not_found", 404, None),
    "message begun": (Rejected(ErrorCode.MESSAGE_BEGUN, TEXT), "message_begun", 409, None),
    "plan in progress": (Rejected(ErrorCode.PLAN_IN_PROGRESS, TEXT), "plan_in_progress", 409, None),
    "image of a message": (Rejected(ErrorCode.IMAGE_NOT_FOUND, TEXT), "image_not_found", 409, None),
    "nothing to cancel": (NothingToCancel(), "nothing_to_cancel", 409, None),
    "broker": (BrokerUnavailable(), "broker_unavailable", 503, None),
    "database": (OperationalError("secret"), "storage_unavailable", 503, None),
    "refused value": (DataError("secret"), "invalid_field", 400, None),
    "surrogate": (UnicodeEncodeError("utf-8", "secret", 0, 1, "surrogates not allowed"), "invalid_field", 400, None),
    "fault of ours": (IntegrityError("secret"), "internal_error", 500, None),
    "too late": (TooLate(), "storage_unavailable", 503, None),
    "timeout": (TimeoutError(), "storage_unavailable", 503, None),
    "crash": (ZeroDivisionError("secret"), "internal_error", 500, None),
}
#: Errors of REST alone.
OF_REST: dict[str, tuple[Exception, str, int]] = {
    "session": (NotFound(ErrorCode.SESSION_NOT_FOUND, TEXT), "session_not_found", 404),
    "agent of a path": (NotFound(ErrorCode.UNKNOWN_AGENT, TEXT), "unknown_agent", 404),
    "image of a path": (NotFound(ErrorCode.IMAGE_NOT_FOUND, TEXT), "image_not_found", 404),
    "agents": (Rejected(ErrorCode.AGENTS_ARE_FIXED, TEXT), "agents_are_fixed", 409),
    "rules": (Rejected(ErrorCode.TOO_MANY_RULES, TEXT), "too_many_rules", 409),
    "provider": (NotFound(ErrorCode.UNKNOWN_PROVIDER, TEXT), "unknown_provider", 404),
    "field": (Rejected(ErrorCode.INVALID_FIELD, TEXT), "invalid_field", 400),
    "empty": (Rejected(ErrorCode.EMPTY_MESSAGE, TEXT), "empty_message", 400),
    "turn": (TurnFailed("model_stalled", TEXT, turn_status="failed"), "model_stalled", 502),
}
#: What HTTP libraries and Django raise.
OF_HTTP: dict[str, tuple[Exception, str, int]] = {
    "validation": (ValidationError(INVALID), "invalid_field", 400),
    "json": (HttpError(400, "secret"), "invalid_json", 400),
    "size": (RequestDataTooBig("secret"), "body_too_large", 413),
    "deleted": (Session.DoesNotExist("secret"), "session_not_found", 404),
}
OF_SOCKETS: dict[str, tuple[Exception, str, int | None]] = {
    "deleted": (Session.DoesNotExist("secret"), "session_deleted", 4410),
    "frame": (FrameError(ErrorCode.UNKNOWN_TYPE, TEXT), "unknown_type", None),
    "unknown call": (ToolCallRejected(ErrorCode.UNKNOWN_TOOL_CALL, TEXT), "unknown_tool_call", None),
    "unknown plan": (ToolCallRejected(ErrorCode.UNKNOWN_PLAN, TEXT), "unknown_plan", None),
}


def subclasses(base: type[Exception]) -> Iterator[type[Exception]]:
    for each in base.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_code_has_a_status() -> None:
    codes = {*ErrorCode, *(model_error.code for model_error in (ModelError, *subclasses(ModelError)))}  # type: ignore[attr-defined]
    assert set(STATUS) == codes
    assert set(STATUS.values()) <= {400, 401, 402, 403, 404, 405, 409, 413, 429, 500, 502, 503, 504}


def test_a_code_that_closes_a_socket_has_a_close_code_of_the_protocol() -> None:
    # The feed of a socket that crashed closes it without a frame.
    assert set(CLOSE.values()) == set(CloseCode) - {CloseCode.INTERNAL_ERROR}
    assert set(CLOSE) <= set(ErrorCode)


def test_the_tree_of_errors_shows_each_of_them_with_its_codes() -> None:
    tree = (errors.__doc__ or "").split("\n\n")[2]
    shown = {line.split()[1]: set(line.split()[2:]) for line in tree.splitlines() if line.lstrip()[:1] in "├└"}
    assert set(shown) == {each.__name__ for each in subclasses(Rejected)}
    of_one_code = (
        NothingToCancel(),
        BodyTooLarge(2**20),
        SessionDeleted(),
        BrokerUnavailable(),
        InternalError(uuid.uuid4()),
    )
    for error in of_one_code:
        assert shown[type(error).__name__] == {error.code}
    assert not issubclass(StaleAttempt, Rejected)


@pytest.mark.parametrize("mounted", [api, plugin_api])
@pytest.mark.parametrize("name", MATRIX)
def test_rest_and_the_plugin_answer_an_error_with_its_code_and_status(mounted: Any, name: str) -> None:
    error, code, status, _ = MATRIX[name]
    got, body, headers = by_http(mounted, error)
    assert (got, body["error_code"]) == (status, code)
    assert "secret" not in body["error"]
    assert body["error"]
    assert body.get("retry_after") == (7 if code == "rate_limited" else None)
    assert headers.get("Retry-After") == ("7" if code == "rate_limited" else None)
    assert ("WWW-Authenticate" in headers) == (status == 401)


@pytest.mark.parametrize("mounted", [api, plugin_api])
@pytest.mark.parametrize("name", [*OF_REST, *OF_HTTP])
def test_rest_answers_its_own_errors(mounted: Any, name: str) -> None:
    error, code, status = (OF_REST | OF_HTTP)[name]
    got, body, _ = by_http(mounted, error)
    assert body.get("turn_status") == ("failed" if name == "turn" else None)
    assert (got, body["error_code"]) == (status, code)
    assert "secret" not in body["error"]
    assert body["error"]


@pytest.mark.parametrize("name", [*MATRIX, *OF_HTTP])
def test_the_openai_compatible_api_answers_the_same_in_openai_s_words(name: str) -> None:
    error, code, status = (MATRIX | OF_HTTP)[name][:3]
    got, body, headers = by_http(openai_api, error)
    names = {"rate_limited": "rate_limit_exceeded"}
    names |= dict.fromkeys(("not_signed_in", "TOKEN_EXPIRED", "TOKEN_INVALID"), "invalid_api_key")
    assert (got, body["error"]["code"]) == (status, names.get(code, code))
    assert "secret" not in body["error"]["message"]
    waits = {"rate_limited": "7", "broker_unavailable": "2", "storage_unavailable": "2"}
    assert headers.get("Retry-After") == waits.get(code)
    assert headers.get("X-Should-Retry") == ("false" if status == 409 else None)
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    default = "server_error" if status >= 500 else "invalid_request_error"
    assert body["error"]["type"] == types.get(status, default)
    assert body["error"]["param"] == ("field.3" if name == "validation" else None)


@pytest.mark.parametrize("name", [*MATRIX, *OF_HTTP])
def test_the_messages_api_answers_the_same_in_anthropic_s_words(name: str) -> None:
    error, code, status = (MATRIX | OF_HTTP)[name][:3]
    got, body, headers = by_http(openai_api, error, path="/v1/messages")
    assert got == {502: 500, 503: 529}.get(status, status)
    assert (body["type"], body["error"]["details"]["error_code"]) == ("error", code)
    assert "secret" not in body["error"]["message"]
    assert headers.get("Retry-After") == by_http(openai_api, error)[2].get("Retry-After")
    assert body["error"]["details"].get("param") == ("field.3" if name == "validation" else None)


@pytest.mark.parametrize("name", MATRIX)
async def test_a_socket_answers_with_a_frame_and_is_closed_where_that_ends_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, code, _, close_code = MATRIX[name]
    frame, closed = await by_socket(error, monkeypatch)
    assert (frame["error_code"], closed) == (code, close_code)
    assert "secret" not in frame["error"]
    assert frame.get("retry_after") == (7 if code == "rate_limited" else None)


@pytest.mark.parametrize("name", OF_SOCKETS)
async def test_a_socket_answers_its_own_errors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, code, close_code = OF_SOCKETS[name]
    frame, closed = await by_socket(error, monkeypatch)
    assert (frame["error_code"], closed) == (code, close_code)
