"""The OpenAI-compatible API: identifies the caller and answers errors as OpenAI's objects."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI

from codelab.environment import VERSION
from codelab.identity.callers import IdentifiedCaller
from codelab.identity.request_credentials import of_request
from sessions.api.completions.bodies import schemas
from sessions.api.completions.errors import of_error
from sessions.api.openai.errors import body_of, headers_of
from sessions.api.openai.schemas import ChatRequest, EmbeddingsBody
from sessions.api.openai.views import router
from sessions.api.responses.schemas import ResponsesRequest
from sessions.api.responses.views import router as responses_router
from sessions.callers import Action
from sessions.protocol.client import require_clean_text

PREFIX = "/v1/"


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
    """Answers errors in OpenAI's words."""

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return respond(request.path, exc)

    def get_openapi_schema(self, **options: Any) -> Any:
        schema = super().get_openapi_schema(**options)
        # The endpoints read their bodies by themselves.
        schema.setdefault("components", {}).setdefault("schemas", {}).update(
            schemas(ChatRequest, EmbeddingsBody, ResponsesRequest)
        )
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


def respond(path: str, error: Exception) -> HttpResponse:
    """Answer an error in the words of the API that the path belongs to."""
    # An error that is no CompletionError yet becomes one once: a fault of the server is logged.
    answer = of_error(error)
    return JsonResponse(body_of(answer), status=answer.status, headers=headers_of(answer))
