"""The endpoints of the OpenAI-compatible API, below `/v1/`."""

import asyncio

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from ninja import Router

from sessions.api.completions import anthropic_models, bodies, intake
from sessions.api.completions.models import describe, listed_names, usable_providers
from sessions.api.http import owner
from sessions.api.openai import requests
from sessions.api.openai.responses import ChunkWriter, completion, embeddings
from sessions.api.openai.schemas import ChatRequest, EmbeddingsBody
from sessions.callers import Action, caller_of
from sessions.database import in_thread

router = Router(tags=["OpenAI"])


@router.get("/models")
async def list_models(request: HttpRequest, all: bool = False) -> JsonResponse:  # noqa: A002 (a name of the API)
    """List our agents and the models that have a key; with `all` also the catalog's other models."""
    providers = None if all else await in_thread(usable_providers)(owner(request).pk)
    names = listed_names(providers)
    if anthropic_models.VERSION_HEADER in request.headers:
        return JsonResponse(anthropic_models.page(names, request.GET.dict()))
    listed = {"object": "list", "data": [describe(name) for name in names]}
    # Codex asks for its own list in this way, and reports a missing one. It goes on without the facts of a model.
    return JsonResponse({**listed, "models": []} if "client_version" in request.GET else listed)


@router.get("/models/{path:model}")
async def get_model(request: HttpRequest, model: str) -> JsonResponse:
    """Return one model."""
    is_anthropic = anthropic_models.VERSION_HEADER in request.headers
    return JsonResponse(anthropic_models.describe(model) if is_anthropic else describe(model))


@router.post("/chat/completions", openapi_extra=bodies.describe(ChatRequest))
async def create_completion(request: HttpRequest) -> HttpResponseBase:
    """Ask a model or an agent; with `stream` the answer comes in chunks."""
    await intake.authorize(request)
    in_session = intake.names_session(request)
    body, wanted = await bodies.read(
        request, ChatRequest, lambda each: (each, requests.chat(each, in_session=in_session))
    )
    turn = await intake.begin(request, wanted, streamed=bool(body.stream), tool_names=body.tool_names)
    if body.stream:
        writer = ChunkWriter(turn.turn_id, body.model, include_usage=body.include_usage)
        return await intake.stream(request, turn, writer)
    texts, end = await intake.whole(request, turn)
    return JsonResponse(completion(texts, end, turn.turn_id, body.model))


@router.post("/embeddings", openapi_extra=bodies.describe(EmbeddingsBody))
async def create_embeddings(request: HttpRequest) -> HttpResponse:
    """Return the embeddings of texts."""
    # A session makes none, so a header that names one changes nothing.
    await caller_of(request).authorize(Action.COMPLETION)
    body, wanted = await bodies.read(request, EmbeddingsBody, lambda each: (each, requests.embeddings(each)))
    turn = await intake.begin_alone(request, wanted)
    _, end = await intake.whole(request, turn)
    is_packed = body.encoding_format == "base64"
    content = await asyncio.to_thread(embeddings, end.result, body.model, packed=is_packed)
    return HttpResponse(content, content_type="application/json")
