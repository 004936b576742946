"""The REST API: mounts the routers, names the caller, and turns known errors into answers with a code."""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import RequestDataTooBig
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from codelab.body_limits import MAX_BODY_BYTES
from codelab.environment import VERSION
from codelab.identity.api import router as identity_router
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from codelab.openai_api import PREFIX
from codelab.openai_api import body_too_large as openai_body_too_large
from codelab.openai_api import not_found as openai_not_found
from sessions.api.http import ApiError
from sessions.api.plugin import router as projects_router
from sessions.api.rest import router as rest_router
from sessions.callers import Use
from sessions.database import TooLate
from sessions.errors import BrokerUnavailable, MessageRefused, NothingToCancel, Refusal
from sessions.models import Session, new_id
from sessions.protocol import ErrorCode
from sessions.protocol.asyncapi import asyncapi

logger = structlog.get_logger(__name__)


async def caller(request: HttpRequest) -> AbstractBaseUser:
    """Return the user who is calling and may do this; foreign pages are refused, also for reading."""
    calling = IdentifiedCaller(of_request(request), opens_socket=False)
    user = await calling.identify()
    await calling.permit(Use.READ if request.method in ("GET", "HEAD", "OPTIONS") else Use.WRITE)
    request.caller = calling  # type: ignore[attr-defined]
    return user


api = NinjaAPI(
    title="CodeLab AI Service",
    version=VERSION,
    description="REST beside the WebSocket, whose frames are in `/api/v1/asyncapi.json`.",
    auth=caller,
    docs_url="/docs",
    urls_namespace="api",
)
api.add_router("", identity_router)
api.add_router("", rest_router)


@api.get("/asyncapi.json", auth=None, include_in_schema=False)
def asyncapi_document(request: HttpRequest) -> JsonResponse:
    """Return the description of the socket's frames."""
    return JsonResponse(asyncapi(VERSION))


class PluginApi(NinjaAPI):
    """The API of the original's plugin; its errors are answered as those of the other one."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Answer an error."""
        return api.on_exception(request, exc)


plugin_api = PluginApi(
    title="CodeLab AI Service for the VS Code plugin",
    version=VERSION,
    auth=caller,
    docs_url="/docs",
    urls_namespace="plugin",
)
plugin_api.add_router("", projects_router)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown path: in JSON below /api/, /my/ and /v1/, with Django's page elsewhere."""
    if request.path.startswith(PREFIX):
        return openai_not_found(request)
    if request.path.startswith(("/api/", "/my/")):
        return _answer(404, ErrorCode.NOT_FOUND, "There is nothing at this path; /api/v1/docs lists what there is.")
    return page_not_found(request, exception)


def body_too_large(path: str) -> HttpResponse:
    """Answer a body that is larger than any path takes; the server asks for it, and no view was called."""
    if path.startswith(PREFIX):
        return openai_body_too_large()
    return _answer(413, ErrorCode.BODY_TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES // 1024**2} MiB.")


def _answer(status: int, code: str, text: str, **more: Any) -> JsonResponse:
    return JsonResponse({"error": text, "error_code": code, **more}, status=status)


@api.exception_handler(ApiError)
def _api_error(_request: HttpRequest, error: ApiError) -> HttpResponse:
    return _answer(error.status, error.code, str(error), **error.details)


@api.exception_handler(Refusal)
def _refused(_request: HttpRequest, refusal: Refusal) -> HttpResponse:
    more = {} if refusal.retry_after is None else {"retry_after": refusal.retry_after}
    response = _answer(refusal.status, refusal.code, str(refusal), **more)
    if refusal.retry_after is not None:
        response["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        reason = "" if refusal.code == ErrorCode.NOT_SIGNED_IN else ', error="invalid_token"'
        response["WWW-Authenticate"] = f'Bearer realm="codelab"{reason}'
    return response


@api.exception_handler(ValidationError)
def _invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
    problem = error.errors[0]
    # ("query", name) or ("body", parameter, name …): clients know neither our parameters nor where we looked.
    where, *names = problem["loc"]
    place = ".".join(map(str, names[1:] if where == "body" else names)) or "body"
    return _answer(400, ErrorCode.INVALID_FIELD, f"Field `{place}` is not usable: {problem['msg']}.")


@api.exception_handler(HttpError)
def _unreadable(_request: HttpRequest, error: HttpError) -> HttpResponse:
    return _answer(error.status_code, ErrorCode.INVALID_JSON, "The body is not a JSON object.")


@api.exception_handler(RequestDataTooBig)
def _too_big(_request: HttpRequest, _error: RequestDataTooBig) -> HttpResponse:
    return _answer(413, ErrorCode.BODY_TOO_LARGE, "The body is larger than 1 MiB.")


@api.exception_handler(BrokerUnavailable)
def _no_broker(_request: HttpRequest, error: BrokerUnavailable) -> HttpResponse:
    return _answer(503, ErrorCode.BROKER_UNAVAILABLE, str(error))


@api.exception_handler(NothingToCancel)
def _nothing_to_cancel(_request: HttpRequest, error: NothingToCancel) -> HttpResponse:
    return _answer(409, ErrorCode.NOTHING_TO_CANCEL, str(error))


@api.exception_handler(MessageRefused)
def _message_refused(_request: HttpRequest, error: MessageRefused) -> HttpResponse:
    return _answer(404 if error.code == ErrorCode.MESSAGE_NOT_FOUND else 409, error.code, str(error))


@api.exception_handler(Session.DoesNotExist)
def _session_deleted(_request: HttpRequest, _error: Session.DoesNotExist) -> HttpResponse:
    # It was there a moment ago.
    return _answer(404, ErrorCode.SESSION_NOT_FOUND, "The session was deleted.")


@api.exception_handler(DatabaseError)
@api.exception_handler(TooLate)
@api.exception_handler(TimeoutError)
def _no_database(_request: HttpRequest, error: Exception) -> HttpResponse:
    logger.warning("request_not_stored", error=type(error).__name__)
    text = "The server cannot store anything at the moment; nothing was taken. Send it again in a moment."
    return _answer(503, ErrorCode.STORAGE_UNAVAILABLE, text)


@api.exception_handler(Exception)
def _crashed(_request: HttpRequest, error: Exception) -> HttpResponse:
    error_id = str(new_id())
    logger.error("request_crashed", error_id=error_id, exc_info=error)
    text = f"Something went wrong on the server. Tell its operator this number: {error_id}."
    return _answer(500, ErrorCode.INTERNAL_ERROR, text)
