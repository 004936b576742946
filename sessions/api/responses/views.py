"""The endpoints of the Responses API, below `/v1/responses`."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from ninja import Query, Router

from sessions.api.commands import announce, store_timeout
from sessions.api.completions import bodies, intake
from sessions.api.completions.errors import UNSUPPORTED_VALUE, invalid
from sessions.api.http import owner
from sessions.api.responses import stored
from sessions.api.responses.conversation import items_of
from sessions.api.responses.events import EventWriter
from sessions.api.responses.requests import LIVE, Known, references, translate
from sessions.api.responses.resource import Response
from sessions.api.responses.schemas import ResponsesRequest
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import NothingToCancel
from sessions.models import new_id
from sessions.turns import attempts, deletion
from sessions.turns.completions import CompletionRequest

router = Router(tags=["Responses"])

#: Items of one page of an input.
MAX_PAGE, DEFAULT_PAGE = 100, 20


@router.post("", openapi_extra=bodies.describe(ResponsesRequest))
async def create_response(request: HttpRequest) -> HttpResponseBase:
    """Ask a model or an agent; with `stream` the answer comes in events, with `background` it is fetched later."""
    await intake.authorize(request)
    is_live = intake.SESSION_HEADER in request.headers
    body, wanted = await bodies.read(request, ResponsesRequest, lambda each: (each, _translate(each, is_live=is_live)))
    if wanted is None:
        known = await in_thread(stored.known)(owner(request).pk, body.previous_response_id, references(body))
        wanted = await asyncio.to_thread(translate, body, known)
    turn = await intake.begin(request, wanted, streamed=body.stream, tool_names=[tool["name"] for tool in wanted.tools])
    # Several requests of a session may be answered by one turn.
    key = f"{turn.turn_id.hex}{new_id().hex[-8:]}" if is_live else ""
    response = Response(turn.turn_id, wanted, key=key)
    if body.stream:
        return await intake.stream(request, turn, EventWriter(response))
    if body.background:
        return JsonResponse(response.state("queued"))
    texts, end = await intake.whole(request, turn)
    return JsonResponse(response.ended(end, response.output(texts, end)))


def _translate(body: ResponsesRequest, *, is_live: bool) -> CompletionRequest | None:
    """Return the completion that a request asks for, None where it refers to what is stored. Raises CompletionError."""
    if is_live:
        if body.background:
            raise invalid(
                "background", "A session goes on by itself: follow it, and leave this out.", UNSUPPORTED_VALUE
            )
        # The session has the conversation itself.
        return translate(body.model_copy(update={"store": False}), LIVE)
    return None if body.previous_response_id or references(body) else translate(body, Known())


@router.get("/{response_id}")
async def get_response(
    request: HttpRequest, response_id: str, stream: bool = False, starting_after: int = -1
) -> HttpResponseBase:
    """Return a stored response as it is now; with `stream` its events, from the first one or after a number."""
    found = await in_thread(stored.get)(owner(request).pk, response_id)
    if not stream:
        return JsonResponse(await in_thread(found.current)())
    turn = await intake.follow(request, found.turn, keeps_running=found.completion.is_background)
    return await intake.stream(request, turn, EventWriter(found.response, after=starting_after))


@router.delete("/{response_id}")
async def delete_response(request: HttpRequest, response_id: str) -> JsonResponse:
    """Stop a stored response and delete it."""
    await caller_of(request).authorize(Action.RESPONSE)
    found = await in_thread(stored.get)(owner(request).pk, response_id)
    async with store_timeout() as deadline:
        announce(await in_thread(deletion.delete_session)(found.turn.session_id, deadline=deadline))
    return JsonResponse({"id": response_id, "object": "response", "deleted": True})


@router.post("/{response_id}/cancel")
async def cancel_response(request: HttpRequest, response_id: str) -> JsonResponse:
    """Stop a stored response; one that has ended stays as it is."""
    await caller_of(request).authorize(Action.RESPONSE)
    found = await in_thread(stored.get)(owner(request).pk, response_id)
    async with store_timeout() as deadline:
        with suppress(NothingToCancel):
            announce(await in_thread(attempts.cancel)(found.turn.session_id, found.turn.pk, deadline=deadline))
    found = await in_thread(stored.get)(owner(request).pk, response_id)
    return JsonResponse(await in_thread(found.current)())


@router.get("/{response_id}/input_items")
async def list_input_items(
    request: HttpRequest,
    response_id: str,
    after: str = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    order: Literal["asc", "desc"] = "desc",
) -> JsonResponse:
    """Return the items that a stored response has answered, a page of them."""
    found = await in_thread(stored.get)(owner(request).pk, response_id)
    return JsonResponse(await asyncio.to_thread(_page, found, after, limit, newest_first=order == "desc"))


def _page(found: stored.StoredResponse, after: str, limit: int, *, newest_first: bool) -> dict[str, Any]:
    response = found.response
    items = list(items_of(found.rows, response.client_tools, response.key))
    if newest_first:
        items.reverse()
    if after:
        place = next((place for place, item in enumerate(items) if item["id"] == after), None)
        if place is None:
            raise invalid("after", "The response has no item with this id.")
        items = items[place + 1 :]
    page = items[:limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"object": "list", "data": page, "first_id": first, "last_id": last, "has_more": len(items) > limit}
