"""Errors that belong to a path and not to a view: each API answers them in its own words, pages in HTML.

The web server asks for some of them before any view is called.
"""

import re
import sys
from collections.abc import Iterable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.csp import CSP
from django.views.defaults import bad_request as bad_request_page
from django.views.defaults import page_not_found
from django.views.defaults import server_error as server_error_page

from codelab import openai_api, rest_api
from codelab.body_limits import MAX_BODY_BYTES, MAX_OPENAI_BODY_BYTES
from codelab.identity import oauth_errors
from codelab.identity.pages import POLICY
from codelab.openai_api import MESSAGES_PATH, PREFIX
from sessions.errors import BodyTooLarge, InternalError, NotFound, ShuttingDown
from sessions.models import new_id
from sessions.protocol.codes import ErrorCode, Rejected

#: What clients of OpenAI ask below their base URL. With another base they end up elsewhere: `/models`,
#: `/v1/v1/chat/completions`, `/openai/deployments/x/chat/completions`.
OPENAI_PATH = re.compile(
    r"/v1|/openai(/.*)?|(/(v\d|api|openai|anthropic|(deployments|engines)/[^/]+))*/(chat/completions|completions"
    r"|embeddings|responses|messages|messages/count_tokens|images/\w+|audio/\w+|moderations|rerank|models(/.*)?)"
)
#: Endpoints of the OpenAI-compatible API, as a client sees them.
OPENAI_ENDPOINTS = (
    f"POST {PREFIX}chat/completions, POST {PREFIX}responses, POST {PREFIX}messages, POST {PREFIX}embeddings "
    f"and GET {PREFIX}models"
)
#: Whose paths are never pages.
API_PREFIXES = ("/api/", "/my/", "/oauth/", "/.well-known/", PREFIX)


def respond(path: str, error: Exception) -> HttpResponse:
    """Answer an error in the words of the API that the path belongs to."""
    if path.startswith("/oauth/"):
        return oauth_errors.of_error(error).response()
    if path.startswith(PREFIX) or _is_meant_for_openai(path):
        return openai_api.respond(path, error)
    return rest_api.respond(error)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown path: in JSON, but for browsers with a page where no API is."""
    path = request.path
    if MESSAGES_PATH.fullmatch(path):
        text = (
            f"There is nothing at this path. The Messages API is at {PREFIX}messages: "
            "the base URL of a client is the address of this server without a path."
        )
    elif _is_meant_for_openai(path) and not _is_own(path):
        text = f"The OpenAI-compatible API is at {PREFIX}: the base URL of a client ends with {PREFIX.rstrip('/')}."
    elif path.startswith(PREFIX):
        text = f"There is nothing at this path. {OPENAI_ENDPOINTS} are what there is; {PREFIX}docs describes them."
    elif path.startswith(API_PREFIXES):
        text = f"There is nothing at this path; /api/v1/docs lists what there is. For clients of OpenAI: {PREFIX}."
    elif "text/html" in request.headers.get("Accept", ""):
        page = page_not_found(request, exception)
        page[CSP.HEADER_ENFORCE] = POLICY
        return page
    else:
        text = "There is nothing at this path; /api/v1/docs lists what there is."
    return respond(path, NotFound(ErrorCode.NOT_FOUND, text))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses: in JSON where an API is."""
    if not request.path.startswith(API_PREFIXES):
        return bad_request_page(request, exception)
    if isinstance(exception, DisallowedHost):
        text = (
            "The server does not go by the name in the header Host. Its operator can allow it in CODELAB_ALLOWED_HOSTS."
        )
        return respond(request.path, Rejected(ErrorCode.INVALID_FIELD, text))
    return unreadable(request.path, "Invalid request")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a fault outside of a view of an API, which is in the log."""
    if not request.path.startswith(API_PREFIXES):
        return server_error_page(request)
    fault = sys.exception()
    return respond(request.path, fault if isinstance(fault, Exception) else InternalError(new_id()))


def method_not_allowed(path: str, allowed: Iterable[str]) -> HttpResponse:
    """Answer a method that a path does not have."""
    methods = ", ".join(allowed)
    text = f"This path does not have this method. It has {methods}."
    response = respond(path, Rejected(ErrorCode.METHOD_NOT_ALLOWED, text))
    response["Allow"] = methods
    return response


def body_too_large(path: str) -> HttpResponse:
    """Answer a body that is larger than any path takes."""
    return respond(path, BodyTooLarge(MAX_OPENAI_BODY_BYTES if path.startswith(PREFIX) else MAX_BODY_BYTES))


def shutting_down(path: str) -> HttpResponse:
    """Answer a request that arrives while the process ends."""
    if path in ("/ready", "/health", "/api/v1/health"):
        status = "not ready" if path == "/ready" else "unhealthy"
        return JsonResponse({"status": status, "checks": {"server": "shutting down"}}, status=503)
    return respond(path, ShuttingDown())


def unreadable(path: str, reason: str) -> HttpResponse:
    """Answer a request that is not HTTP as it should be."""
    return respond(path, Rejected(ErrorCode.INVALID_FIELD, f"The request cannot be read: {reason}."))


def _is_meant_for_openai(path: str) -> bool:
    return OPENAI_PATH.fullmatch(path.rstrip("/")) is not None


def _is_own(path: str) -> bool:
    """Return whether the path is directly below the API's prefix, so that the base URL is right."""
    return path.startswith(PREFIX) and not path.startswith(
        (f"{PREFIX}v1/", f"{PREFIX}openai/", f"{PREFIX}api/", f"{PREFIX}anthropic/")
    )
