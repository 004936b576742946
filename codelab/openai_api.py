"""The OpenAI-compatible API: identifies the caller and answers errors as OpenAI's objects.

Served without the middleware of the other pages, which would hold a thread for each open request.
"""

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
from sessions.errors import BodyTooLarge

PREFIX = "/v1/"
#: The middleware that remains: all of it is asynchronous, and none needs a user or a cookie of Django's.
MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
)


async def caller(request: HttpRequest) -> AbstractBaseUser:
    """Return the user who is calling. Each endpoint that does more than read authorizes its action."""
    calling = IdentifiedCaller(of_request(request), opens_socket=False)
    user = await calling.identify()
    if request.method == "GET":
        await calling.authorize(Action.CATALOG)
    request.caller = calling  # type: ignore[attr-defined]
    # Only of an identified caller. Django's own limit is that of the other endpoints.
    body = request.read(MAX_OPENAI_BODY_BYTES + 1)
    if len(body) > MAX_OPENAI_BODY_BYTES:
        raise BodyTooLarge(MAX_OPENAI_BODY_BYTES)
    request._body = body
    return user


class OpenAIApi(NinjaAPI):
    """Answers errors in OpenAI's words."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return respond(exc)


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


def respond(error: Exception) -> HttpResponse:
    """Answer an error in OpenAI's words."""
    answer = of_error(error)
    return JsonResponse(answer.body, status=answer.status, headers=answer.headers)
