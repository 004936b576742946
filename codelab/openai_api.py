"""The OpenAI-compatible API: names the caller, and turns known errors into OpenAI's objects.

Served without the middleware of the other pages: each request that is under way would hold a thread for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string
from ninja import NinjaAPI

from codelab.body_limits import MAX_OPENAI_BODY_BYTES
from codelab.environment import VERSION
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from sessions.api.openai.errors import of_error
from sessions.api.openai.views import router
from sessions.callers import Action
from sessions.errors import BodyTooLarge, NotFound
from sessions.protocol import ErrorCode

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
        await calling.authorize(Action.CATALOG)
    request.caller = calling  # type: ignore[attr-defined]
    # Not before it is known who sends it. Django's own limit is that of the other endpoints.
    body = request.read(MAX_OPENAI_BODY_BYTES + 1)
    if len(body) > MAX_OPENAI_BODY_BYTES:
        raise BodyTooLarge(MAX_OPENAI_BODY_BYTES)
    request._body = body
    return user


class OpenAIApi(NinjaAPI):
    """Answers errors in OpenAI's words."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        """Answer an error."""
        return _response(exc)


openai_api = OpenAIApi(
    title="CodeLab AI Service in OpenAI's words",
    version=VERSION,
    auth=caller,
    docs_url="/docs",
    urls_namespace="openai",
)
openai_api.add_router("", router)


class Handler(ASGIHandler):
    """Django without a thread for each open request.

    It overrides private names of Django, read in django 6.1.3: `_view_middleware` and its two neighbours,
    `_get_response_async`, `_middleware_chain`. When they change, tests/live/test_openai.py breaks.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Wrap the views in `MIDDLEWARE`."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: Callable[..., Any] = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]
        for path in reversed(MIDDLEWARE):
            handler = convert_exception_to_response(import_string(path)(handler))
        self._middleware_chain = handler

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request. Django's own method holds a thread for as long as a request is open."""
        await self.handle(scope, receive, send)


def not_found(request: HttpRequest) -> HttpResponse:
    """Answer an unknown path."""
    text = f"There is nothing at this path; {PREFIX}docs lists what there is."
    return _response(NotFound(ErrorCode.NOT_FOUND, text))


def body_too_large() -> HttpResponse:
    """Answer a body that the server did not take."""
    return _response(BodyTooLarge(MAX_OPENAI_BODY_BYTES))


def _response(error: Exception) -> HttpResponse:
    answer = of_error(error)
    return JsonResponse(answer.body, status=answer.status, headers=answer.headers)
