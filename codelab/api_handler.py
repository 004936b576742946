"""Serves the APIs without a thread or a database connection for each open request.

Django's own handler gives each request a thread, and the thread keeps the connection that it took from the pool until
the answer has ended. A stream or a `wait` lasts for minutes, so a browser with a few tabs took all connections of the
process. Pages and the admin answer at once and keep Django's handler.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

#: The paths of the APIs; their callers are identified by `codelab.identity` and need no cookies of Django's.
API_PREFIXES = ("/api/", "/my/", "/v1/")
#: Hooks that wait for nothing, from the outermost on. None needs a user, a session or a form of Django's.
MIDDLEWARE = (
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "codelab.http_methods.HttpMethods",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
)

type View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ApiHandler(ASGIHandler):
    """Django's handler without threads.

    It overrides private names of Django, read in django 6.1.3: `_view_middleware` and its two neighbours,
    `_get_response_async`, `_middleware_chain`. When they change, tests/live/test_openai.py breaks.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Wrap the views in `MIDDLEWARE`."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: Any = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]
        for path in reversed(MIDDLEWARE):
            handler = convert_exception_to_response(self._in_loop(import_string(path), handler))
        self._middleware_chain = handler

    def _in_loop(self, middleware: Callable[[View], Any], view: View) -> View:
        """Run a middleware's hooks in the event loop. Django would run each of them in the same one thread."""
        hooks: Any = middleware(view)
        if hasattr(hooks, "process_view"):

            async def process_view(request: HttpRequest, *arguments: Any) -> None:
                hooks.process_view(request, *arguments)

            self._view_middleware.append(process_view)

        async def call(request: HttpRequest) -> HttpResponseBase:
            refused = hooks.process_request(request) if hasattr(hooks, "process_request") else None
            response: HttpResponseBase = refused or await view(request)
            changed: HttpResponseBase = hooks.process_response(request, response)
            return changed

        return call

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request. Django's own method holds a thread for as long as a request is open."""

        async def receive_in_turn() -> Any:
            # A body that has arrived is taken without a pause, and several large ones would hold up all sessions.
            await asyncio.sleep(0)
            return await receive()

        await self.handle(scope, receive_in_turn, send)
