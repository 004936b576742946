"""The REST API and the plugin's: mounts the routers, identifies the caller, answers errors with a code."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import page_not_found
from ninja import NinjaAPI

from codelab import openai_api
from codelab.body_limits import MAX_BODY_BYTES, MAX_OPENAI_BODY_BYTES
from codelab.environment import VERSION
from codelab.identity.api import router as identity_router
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from codelab.openai_api import PREFIX
from sessions.api.errors import explain
from sessions.api.http import JsonParser
from sessions.api.plugin import router as projects_router
from sessions.api.rest import router as rest_router
from sessions.callers import Action
from sessions.errors import BodyTooLarge, NotFound, ShuttingDown
from sessions.protocol.asyncapi import asyncapi
from sessions.protocol.client import require_clean_text
from sessions.protocol.codes import ErrorCode


async def caller(request: HttpRequest) -> AbstractBaseUser:
    """Return the user who is calling. Raises AccessDenied, also for pages of other origins that only read."""
    # Names in paths are looked up in the database.
    require_clean_text(request.path)
    calling = IdentifiedCaller(of_request(request), opens_socket=False)
    user = await calling.identify()
    await calling.authorize(Action.READ if request.method in ("GET", "HEAD", "OPTIONS") else Action.WRITE)
    request.caller = calling  # type: ignore[attr-defined]
    return user


class JsonApi(NinjaAPI):
    """Answers errors as an object with `error` and `error_code`."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return _respond(exc)


api = JsonApi(
    title="CodeLab AI Service",
    version=VERSION,
    description="REST beside the WebSocket, whose frames are in `/api/v1/asyncapi.json`.",
    auth=caller,
    docs_url="/docs",
    parser=JsonParser(),
    urls_namespace="api",
)
api.add_router("", identity_router)
api.add_router("", rest_router)


@api.get("/asyncapi.json", auth=None, include_in_schema=False)
def asyncapi_document(request: HttpRequest) -> JsonResponse:
    """Return the description of the socket's frames."""
    return JsonResponse(asyncapi(VERSION))


plugin_api = JsonApi(
    title="CodeLab AI Service for the VS Code plugin",
    version=VERSION,
    auth=caller,
    docs_url="/docs",
    parser=JsonParser(),
    urls_namespace="plugin",
)
plugin_api.add_router("", projects_router)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an unknown path: in JSON below /api/, /my/ and /v1/, with Django's page elsewhere."""
    if not request.path.startswith((PREFIX, "/api/", "/my/")):
        return page_not_found(request, exception)
    is_openai = request.path.startswith(PREFIX)
    text = f"There is nothing at this path; {PREFIX if is_openai else '/api/v1/'}docs lists what there is."
    error = NotFound(ErrorCode.NOT_FOUND, text)
    return openai_api.respond(error) if is_openai else _respond(error)


def body_too_large(path: str) -> HttpResponse:
    """Answer a body that is larger than any path takes; the web server asks for it before any view is called."""
    if path.startswith(PREFIX):
        return openai_api.respond(BodyTooLarge(MAX_OPENAI_BODY_BYTES))
    return _respond(BodyTooLarge(MAX_BODY_BYTES))


def shutting_down(path: str) -> HttpResponse:
    """Answer a request that arrives while the process ends; the web server asks for it before any view is called."""
    if path in ("/ready", "/health", "/api/v1/health"):
        status = "not ready" if path == "/ready" else "unhealthy"
        return JsonResponse({"status": status, "checks": {"server": "shutting down"}}, status=503)
    return openai_api.respond(ShuttingDown()) if path.startswith(PREFIX) else _respond(ShuttingDown())


def _respond(error: Exception) -> JsonResponse:
    problem = explain(error)
    body = {"error": problem.text, "error_code": problem.code, **problem.details}
    headers = {}
    if problem.retry_after is not None:
        body["retry_after"] = problem.retry_after
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        reason = "" if problem.code == ErrorCode.NOT_SIGNED_IN else ', error="invalid_token"'
        headers["WWW-Authenticate"] = f'Bearer realm="codelab"{reason}'
    return JsonResponse(body, status=problem.status, headers=headers)
