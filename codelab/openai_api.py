"""The OpenAI-compatible API: identifies the caller and answers errors as OpenAI's objects."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI

from codelab.body_limits import MAX_OPENAI_BODY_BYTES
from codelab.environment import VERSION
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from sessions.api.http import JsonParser
from sessions.api.openai.errors import of_error
from sessions.api.openai.views import router
from sessions.callers import Action
from sessions.errors import BodyTooLarge
from sessions.protocol.client import require_clean_text

PREFIX = "/v1/"


async def caller(request: HttpRequest) -> AbstractBaseUser:
    """Return the user who is calling. Each endpoint that does more than read authorizes its action."""
    # Names in paths are looked up in the database.
    require_clean_text(request.path)
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
    parser=JsonParser(),
    urls_namespace="openai",
)
openai_api.add_router("", router)


def respond(error: Exception) -> HttpResponse:
    """Answer an error in OpenAI's words."""
    answer = of_error(error)
    return JsonResponse(answer.body, status=answer.status, headers=answer.headers)
