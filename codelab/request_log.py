"""Gives each HTTP request an id, and logs one line when it has been answered.

The id is the caller's `X-Request-ID` or a new one. It is returned in the same header, stands in every log line of the
request, and goes with a turn to the worker that runs it. Probes are only logged when their answer changes.
"""

import re
import sys
import time
import uuid
from inspect import iscoroutinefunction
from typing import Any

import structlog
from django.contrib.auth.models import AbstractBaseUser
from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware
from structlog.contextvars import bind_contextvars

logger = structlog.get_logger(__name__)

HEADER = b"x-request-id"
#: The same for clients of Anthropic, and where they look for it.
ANTHROPIC_HEADER, ANTHROPIC_PREFIXES = b"request-id", ("/v1/messages", "/v1/models")
#: Ids of proxies and programs: what fits into a header, a log line and a grep.
VALID_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
#: Asked every few seconds, by programs that look at the status themselves.
PROBES = frozenset({"/live", "/ready", "/health", "/api/v1/health", "/metrics"})

#: The latest status of each probe.
_probe_statuses: dict[str, int] = {}


def bind_request_id(scope: Any) -> str:
    """Bind the id of a request or a handshake to the log context, and return it."""
    request_id = request_id_of(next((value for name, value in scope["headers"] if name.lower() == HEADER), b""))
    bind_contextvars(request_id=request_id)
    return request_id


def request_id_of(sent: bytes) -> str:
    """Return the caller's id if it is a valid one, otherwise a new one."""
    return sent.decode("ascii") if VALID_ID.fullmatch(sent) else str(uuid.uuid4())


def id_headers(path: str, request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that tell the id of its request."""
    names = (HEADER, ANTHROPIC_HEADER) if path.startswith(ANTHROPIC_PREFIXES) else (HEADER,)
    return [(name, request_id.encode()) for name in names]


class RequestLog:
    """An ASGI application around another one for HTTP."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, and log its end."""
        request_id = bind_request_id(scope)
        started_at, status = time.monotonic(), 0
        added = id_headers(scope["path"], request_id)

        async def send_with_id(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        try:
            await self._application(scope, receive, send_with_id)
        finally:
            _log(scope, status, round(time.monotonic() - started_at, 3))


def _log(scope: Any, status: int, seconds: float) -> None:
    path: str = scope["path"]
    log = logger.info if status < 400 else logger.warning if status < 500 else logger.error
    if path in PROBES:
        before = _probe_statuses.get(path)
        _probe_statuses[path] = status
        # A process that starts is not ready at first, which is no fault.
        if status == (before or 200):
            log = logger.debug
        elif before is None or status < 400:
            log = logger.info
        else:
            log = logger.warning
    event = "request_finished" if status else "request_cancelled"
    # The query may hold text of the user.
    log(event, code=status, request=f"{scope['method']} {path}", seconds=seconds)


@sync_and_async_middleware
def page_user(get_response: Any) -> Any:
    """Bind the user of a page to the log context, where the page has read who it is."""
    if iscoroutinefunction(get_response):

        async def call_async(request: HttpRequest) -> Any:
            response = await get_response(request)
            _bind_user(request)
            return response

        return call_async

    def call(request: HttpRequest) -> Any:
        response = get_response(request)
        _bind_user(request)
        return response

    return call


def _bind_user(request: HttpRequest) -> None:
    # Django keeps the user there once it was read. Reading it here would cost a query.
    user: AbstractBaseUser | None = getattr(request, "_cached_user", None)
    if user is not None and user.is_authenticated:
        bind_contextvars(user_id=user.pk)


def _log_exception(sender: object, request: HttpRequest | None = None, **_: Any) -> None:
    path = request.path if request is not None else ""
    logger.error("request_failed", request=path, exc_info=sys.exception())


got_request_exception.connect(_log_exception)
