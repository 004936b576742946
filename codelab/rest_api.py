"""The REST API and the plugin's: mounts the routers, identifies the caller, answers errors with a code."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.operation import Operation

from codelab.environment import VERSION
from codelab.identity.api import router as identity_router
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from sessions.api.errors import explain
from sessions.api.http import JsonParser
from sessions.api.plugin import router as projects_router
from sessions.api.rest import router as rest_router
from sessions.callers import Action
from sessions.protocol.asyncapi import asyncapi
from sessions.protocol.client import require_clean_text
from sessions.protocol.codes import ErrorCode

#: What reads, with a body that no address could hold.
READING_POSTS = frozenset({"/api/v1/markdown"})


class Credentials:
    """Identifies callers. In OpenAPI it is the header that pages of documentation can send."""

    openapi_security_schema = {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key or an access token. A browser that is signed in needs none.",
    }

    async def __call__(self, request: HttpRequest) -> AbstractBaseUser:
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
        return respond(exc)

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """Return the name of the view, which generated clients call their functions by."""
        return operation.view_func.__name__


api = JsonApi(
    title="CodeLab AI Service",
    version=VERSION,
    description="REST beside the WebSocket, whose frames are in `/api/v1/asyncapi.json`.",
    auth=Credentials(),
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
    auth=Credentials(),
    docs_url="/docs",
    parser=JsonParser(),
    urls_namespace="plugin",
)
plugin_api.add_router("", projects_router)


def respond(error: Exception) -> JsonResponse:
    """Answer an error as an object with `error` and `error_code`."""
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
