"""The APIs below `/v1/`, in OpenAI's and in Anthropic's words: identifies the caller, and answers errors."""

import re
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI

from codelab.environment import VERSION
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from sessions.api.completions.anthropic_models import VERSION_HEADER
from sessions.api.completions.bodies import schemas
from sessions.api.completions.errors import of_error
from sessions.api.messages import errors as messages_errors
from sessions.api.messages.schemas import MessagesRequest, Prompt
from sessions.api.messages.views import router as messages_router
from sessions.api.openai.errors import body_of, headers_of
from sessions.api.openai.schemas import ChatRequest, EmbeddingsBody
from sessions.api.openai.views import router
from sessions.api.responses.schemas import ResponsesRequest
from sessions.api.responses.views import router as responses_router
from sessions.callers import Action
from sessions.protocol.client import require_clean_text

PREFIX = "/v1/"
#: Paths of the Messages API, also with a base URL that is wrong.
MESSAGES_PATH = re.compile(r"(/v\d|/api|/anthropic)*/messages(/.*)?")
BODIES = (ChatRequest, EmbeddingsBody, ResponsesRequest, MessagesRequest, Prompt)


async def caller(request: HttpRequest) -> AbstractBaseUser:
    """Return the user who is calling. Each endpoint that does more than read authorizes its action, then reads."""
    # Names in paths are looked up in the database.
    require_clean_text(request.path)
    calling = IdentifiedCaller(of_request(request), opens_socket=False)
    user = await calling.identify()
    if request.method == "GET":
        await calling.authorize(Action.CATALOG)
    request.caller = calling  # type: ignore[attr-defined]
    return user


class OpenAIApi(NinjaAPI):
    """Answers errors in the words of the caller's API."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return respond(request.path, exc, is_anthropic=VERSION_HEADER in request.headers)

    def get_openapi_schema(self, **options: Any) -> Any:
        schema = super().get_openapi_schema(**options)
        # The endpoints read their bodies by themselves.
        schema.setdefault("components", {}).setdefault("schemas", {}).update(schemas(*BODIES))
        return schema


openai_api = OpenAIApi(
    title="CodeLab AI Service in OpenAI's words",
    version=VERSION,
    auth=caller,
    docs_url="/docs",
    urls_namespace="openai",
)
openai_api.add_router("", router)
openai_api.add_router("/responses", responses_router)
openai_api.add_router("", messages_router)


def respond(path: str, error: Exception, *, is_anthropic: bool = False) -> HttpResponse:
    """Answer an error in the words of the API that the path belongs to. Models are listed by two of them."""
    # An error that is no CompletionError yet becomes one once: a fault of the server is logged.
    answer = of_error(error)
    if is_anthropic or MESSAGES_PATH.fullmatch(path):
        body, status = messages_errors.body_of(answer), messages_errors.status_of(answer)
        return JsonResponse(body, status=status, headers=answer.headers)
    return JsonResponse(body_of(answer), status=answer.status, headers=headers_of(answer))
