"""The OpenAI-compatible API: names the caller, and turns known errors into OpenAI's objects.

Served without the middleware of the other pages: each request that is under way would hold a thread for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from codelab.body_limits import MAX_OPENAI_BODY_BYTES
from codelab.environment import VERSION
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from sessions.api.openai.errors import DoorError, of_refusal
from sessions.api.openai.views import router
from sessions.callers import Use
from sessions.database import TooLate
from sessions.errors import BrokerUnavailable, MessageRefused, Refusal
from sessions.models import Session, new_id
from sessions.protocol import ErrorCode

logger = structlog.get_logger(__name__)

#: Where this API is.
PREFIX = "/v1/"
#: What remains of the middleware. All of it can wait, and none needs a user or a cookie of Django's.
MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
)


async def caller(request: HttpRequest) -> AbstractBaseUser:
    """Return the user who is calling; what he may do is asked by each endpoint that does more than read."""
    calling = IdentifiedCaller(of_request(request), opens_socket=False)
    user = await calling.identify()
    if request.method == "GET":
        await calling.permit(Use.CATALOG)
    request.caller = calling  # type: ignore[attr-defined]
    # Not before it is known who sends it. Django's own limit is that of the other endpoints.
    body = request.read(MAX_OPENAI_BODY_BYTES + 1)
    if len(body) > MAX_OPENAI_BODY_BYTES:
        raise RequestDataTooBig
    request._body = body
    return user


class OpenAIApi(NinjaAPI):
    """The API of the door; its errors are OpenAI's."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Answer an error."""
        return _response(_error(exc))


openai_api = OpenAIApi(
    title="CodeLab AI Service in OpenAI's words",
    version=VERSION,
    auth=caller,
    docs_url="/docs",
    urls_namespace="openai",
)
openai_api.add_router("", router)


class Handler(ASGIHandler):
    """Django for requests that may be under way for long."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Put MIDDLEWARE around the views."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: Callable[..., Any] = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]
        for path in reversed(MIDDLEWARE):
            handler = convert_exception_to_response(import_string(path)(handler))
        self._middleware_chain = handler

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request; Django's own gives each one a thread of its own as long as it is under way."""
        await self.handle(scope, receive, send)


def not_found(request: HttpRequest) -> HttpResponse:
    """Answer an unknown path."""
    text = f"There is nothing at this path; {PREFIX}docs lists what there is."
    return _response(DoorError(404, ErrorCode.NOT_FOUND, text))


def body_too_large() -> HttpResponse:
    """Answer a body that the server did not take."""
    return _response(_error(RequestDataTooBig()))


def _response(error: DoorError) -> HttpResponse:
    return JsonResponse(error.body, status=error.status, headers=error.headers)


def _error(error: Exception) -> DoorError:
    """Return what an error is called in OpenAI's words."""
    match error:
        case DoorError():
            return error
        case Refusal():
            return of_refusal(error)
        case ValidationError():
            return _invalid(error)
        case HttpError():
            return DoorError(error.status_code, ErrorCode.INVALID_JSON, "The body is not a JSON object.")
        case RequestDataTooBig():
            text = f"The body is larger than {MAX_OPENAI_BODY_BYTES // 1024**2} MiB."
            return DoorError(413, ErrorCode.BODY_TOO_LARGE, text)
        case BrokerUnavailable():
            return DoorError(503, ErrorCode.BROKER_UNAVAILABLE, str(error), retry_after=2)
        case MessageRefused():
            return DoorError(409, error.code, str(error), again=False)
        case Session.DoesNotExist():
            return DoorError(404, ErrorCode.SESSION_NOT_FOUND, "The session was deleted.")
        case DatabaseError() | TooLate() | TimeoutError():
            logger.warning("request_not_stored", error=type(error).__name__)
            text = "The server cannot store anything at the moment; nothing was taken. Send it again in a moment."
            return DoorError(503, ErrorCode.STORAGE_UNAVAILABLE, text, retry_after=2)
        case _:
            error_id = str(new_id())
            logger.error("request_crashed", error_id=error_id, exc_info=error)
            text = f"Something went wrong on the server. Tell its operator this number: {error_id}."
            return DoorError(500, ErrorCode.INTERNAL_ERROR, text)


def _invalid(error: ValidationError) -> DoorError:
    problem = error.errors[0]
    # ("body", parameter, name …): clients know neither our parameters nor where we looked.
    names = [str(name) for name in problem["loc"][2:]]
    place = ".".join(names) or "body"
    return DoorError(400, ErrorCode.INVALID_FIELD, f"Field `{place}` is not usable: {problem['msg']}.", param=place)
