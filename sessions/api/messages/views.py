"""The endpoints of the Messages API."""

import asyncio

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from ninja import Router

from sessions.api.completions import bodies, intake
from sessions.api.completions.counting import count_input
from sessions.api.messages import requests
from sessions.api.messages.responses import MessageWriter, message
from sessions.api.messages.schemas import MessagesRequest, Prompt
from sessions.callers import Action, caller_of

router = Router(tags=["Messages"])


@router.post("/messages", openapi_extra=bodies.describe(MessagesRequest))
async def create_message(request: HttpRequest) -> HttpResponseBase:
    """Ask a model or an agent in Anthropic's words; with `stream` the answer comes in events."""
    await intake.authorize(request)
    body, wanted = await bodies.read(request, MessagesRequest, lambda each: (each, requests.completion(each)))
    # A model may begin to answer meanwhile.
    input_tokens = asyncio.ensure_future(count_input(wanted)) if body.stream else None
    turn = await intake.begin(request, wanted, streamed=body.stream, tool_names=requests.tool_names(body))
    if input_tokens is None:
        texts, end = await intake.whole(request, turn)
        answer = message(texts, end, turn.turn_id, body.model, shows_thinking=body.shows_thinking)
        return JsonResponse(answer)
    writer = MessageWriter(turn.turn_id, body.model, input_tokens=input_tokens, shows_thinking=body.shows_thinking)
    return await intake.stream(request, turn, writer)


@router.post("/messages/count_tokens", openapi_extra=bodies.describe(Prompt))
async def count_tokens(request: HttpRequest) -> JsonResponse:
    """Count the tokens of a request without asking a model."""
    await caller_of(request).authorize(Action.CATALOG)
    wanted = await bodies.read(request, Prompt, requests.prompt)
    return JsonResponse({"input_tokens": await count_input(wanted)})
