"""CORS: pages of `CODELAB_ALLOWED_ORIGINS` may call the APIs and read the answers.

An ASGI application of our own instead of a library: it must also cover streams, errors of Django itself, and what the
web server refuses before Django (`headers_for`). Django's middlewares for CORS see none of these.

Answers never allow credentials: a page of another origin signs in with a token or a key, never with a cookie. Other
origins get no header at all, and are refused by `codelab.identity.origin`.
"""

import re
from typing import Any

from django.conf import settings

from codelab.identity.origin import require_origin
from codelab.path_errors import respond
from sessions.errors import AccessDenied

type Headers = list[tuple[bytes, bytes]]

#: Pages are for people, not for scripts of other origins.
PAGE_PREFIXES = ("/admin/", "/login", "/logout", "/static/")
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: Headers of answers that scripts may read, besides those that every script may.
EXPOSED = b"Retry-After, X-Should-Retry, X-Request-ID, Request-ID, X-Correlation-ID, WWW-Authenticate, Allow"
#: How long a browser keeps the answer to a preflight; the most that Chromium takes.
MAX_AGE_SECONDS = 7200
#: Names of headers, and no more than a browser would send.
REQUESTED_HEADERS = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:, *[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
MAX_REQUESTED_BYTES = 4096


class CrossOrigin:
    """An ASGI application around another one for HTTP."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a preflight, or serve a request with the headers that its origin gets."""
        origin = _header(scope, b"origin")
        if scope["method"] == "OPTIONS" and origin is not None and _header(scope, b"access-control-request-method"):
            await self._preflight(scope, origin, send)
            return
        more = headers_for(scope["path"], origin)

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        await self._application(scope, receive, send_with_headers if more else send)

    async def _preflight(self, scope: Any, origin: bytes, send: Any) -> None:
        path: str = scope["path"]
        headers: Headers = [*headers_for(path, origin)]
        status, body = 204, b""
        try:
            require_origin(origin.decode("latin-1"), (_header(scope, b"host") or b"").decode("latin-1"))
        except AccessDenied as error:
            answer = respond(path, error)
            status, body = answer.status_code, answer.content
            headers.append((b"Content-Type", answer["Content-Type"].encode()))
        else:
            if headers:
                headers += _permissions(scope)
        headers.append((b"Vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"))
        if status != 204:
            headers.append((b"Content-Length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def headers_for(path: str, origin: bytes | None) -> Headers:
    """Return the headers of an answer to a page of this origin; caches must not mix up the answers of two."""
    if not settings.ALLOWED_ORIGINS or path == "/" or path.startswith(PAGE_PREFIXES):
        return []
    headers: Headers = [(b"Vary", b"Origin")]
    if origin is not None and origin.decode("latin-1") in settings.ALLOWED_ORIGINS:
        headers += [(b"Access-Control-Allow-Origin", origin), (b"Access-Control-Expose-Headers", EXPOSED)]
    return headers


def _permissions(scope: Any) -> Headers:
    """Return what a preflight asked for: the method, the headers, and to reach a private network."""
    headers: Headers = [
        (b"Access-Control-Allow-Methods", METHODS),
        (b"Access-Control-Max-Age", str(MAX_AGE_SECONDS).encode()),
    ]
    requested = _header(scope, b"access-control-request-headers") or b""
    if len(requested) <= MAX_REQUESTED_BYTES and REQUESTED_HEADERS.fullmatch(requested):
        headers.append((b"Access-Control-Allow-Headers", requested))
    if _header(scope, b"access-control-request-private-network") == b"true":
        headers.append((b"Access-Control-Allow-Private-Network", b"true"))
    return headers


def _header(scope: Any, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)
