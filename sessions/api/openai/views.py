"""The endpoints of the OpenAI-compatible API, below `/v1/`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from ninja import Router

from sessions.api.commands import announce, store_timeout, with_broker
from sessions.api.http import owner, stream_response, writable_of
from sessions.api.openai import bodies, live_session, requests
from sessions.api.openai.errors import invalid
from sessions.api.openai.models import describe, listed_names, usable_providers
from sessions.api.openai.responses import COMMENT, ChunkWriter, completion, embeddings, error_line
from sessions.api.openai.schemas import ChatRequest, EmbeddingsBody
from sessions.api.openai.turn_follower import End, Piece, Text, TurnFollower, collect
from sessions.api.streaming import unless_signed_out, until_signed_out, with_heartbeat
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import NothingToCancel
from sessions.models import Session
from sessions.protocol.codes import MAX_KEY_LENGTH
from sessions.turns import attempts, completions
from sessions.turns.completions import CompletionRequest

logger = structlog.get_logger(__name__)

router = Router(tags=["OpenAI"])

#: Silence after which a stream begins, or gets a comment. A failure before a stream begins is answered with its status.
HEARTBEAT_SECONDS = 5.0

#: Turns that are being cancelled; the event loop itself keeps no task alive.
_cancellations: set[asyncio.Task[None]] = set()


@router.get("/models")
async def list_models(request: HttpRequest, all: bool = False) -> JsonResponse:  # noqa: A002 (a name of the API)
    """List our agents and the models that have a key; with `all` also the catalog's other models."""
    providers = None if all else await in_thread(usable_providers)(owner(request).pk)
    return JsonResponse({"object": "list", "data": [describe(name) for name in listed_names(providers)]})


@router.get("/models/{path:model}")
async def get_model(request: HttpRequest, model: str) -> JsonResponse:
    """Return one model."""
    return JsonResponse(describe(model))


@router.post("/chat/completions", openapi_extra=bodies.describe(ChatRequest))
async def create_completion(request: HttpRequest) -> HttpResponseBase:
    """Ask a model or an agent; with `stream` the answer comes in chunks."""
    key = request.headers.get("X-CodeLab-Session")
    # What the caller may do is judged before their body is read.
    await caller_of(request).authorize(Action.COMPLETION if key is None else Action.WRITE)
    if key is None:
        body, completion_request = await bodies.read(request, ChatRequest, lambda each: (each, requests.chat(each)))
        turn = await _accept(request, completion_request, writable_of(request) if body.stream else None)
    else:
        body, new = await bodies.read(request, ChatRequest, lambda each: (each, live_session.new_content(each)))
        turn = await _send(request, body, new, key, writable_of(request) if body.stream else None)
    if not body.stream:
        texts, end = await unless_signed_out(_collect(turn), caller_of(request))
        return JsonResponse(completion(texts, end, turn.turn_id, body.model))
    writer = ChunkWriter(turn.turn_id, body.model, include_usage=body.include_usage)
    pieces = with_heartbeat(turn.pieces(), HEARTBEAT_SECONDS)
    try:
        first = await anext(pieces)
    except BaseException:
        await _leave(turn, pieces)
        raise
    lines = _lines(turn, first, pieces, writer)
    return stream_response(until_signed_out(lines, caller_of(request), error_line), "text/event-stream")


@router.post("/embeddings", openapi_extra=bodies.describe(EmbeddingsBody))
async def create_embeddings(request: HttpRequest) -> HttpResponse:
    """Return the embeddings of texts."""
    await caller_of(request).authorize(Action.COMPLETION)
    body, wanted = await bodies.read(request, EmbeddingsBody, lambda each: (each, requests.embeddings(each)))
    turn = await _accept(request, wanted)
    _, end = await unless_signed_out(_collect(turn), caller_of(request))
    is_packed = body.encoding_format == "base64"
    content = await asyncio.to_thread(embeddings, end.result, body.model, packed=is_packed)
    return HttpResponse(content, content_type="application/json")


async def _accept(
    request: HttpRequest, completion_request: CompletionRequest, writable: asyncio.Event | None = None
) -> TurnFollower:
    """Store a request that has a session of its own."""
    caller = caller_of(request)
    async with store_timeout() as deadline:
        accept = with_broker(completions.accept)
        accepted = await accept(owner(request).pk, completion_request, api_key=caller.api_key, deadline=deadline)
    announce(accepted)
    return TurnFollower(accepted.session_id, accepted.turn_id, accepted.number, writable=writable)


async def _send(
    request: HttpRequest, body: ChatRequest, new: live_session.NewContent, key: str, writable: asyncio.Event | None
) -> TurnFollower:
    """Store what a request adds to a live session."""
    caller = caller_of(request)
    client_message_id = request.headers.get("Idempotency-Key") or None
    if client_message_id and len(client_message_id) > MAX_KEY_LENGTH:
        raise invalid("Idempotency-Key", f"A key has at most {MAX_KEY_LENGTH} characters.")
    session = await live_session.session_of(owner(request).pk, key)
    actions = [Action.IMAGE for _ in new.images] + ([Action.TURN] if new.text else [])
    await caller.authorize(*actions)
    async with store_timeout() as deadline:
        turn_id, number = await live_session.send(
            session, new, client_message_id=client_message_id, api_key=caller.api_key, deadline=deadline
        )
    names = body.tool_names
    offer_calls = partial(in_thread(live_session.offer_turn_calls), turn_id, names) if names else None
    return TurnFollower(session.pk, turn_id, number, in_session=True, writable=writable, offer_calls=offer_calls)


async def _collect(turn: TurnFollower) -> tuple[list[Text], End]:
    """Return the whole answer."""
    pieces = turn.pieces()
    try:
        return await collect(pieces)
    finally:
        await _leave(turn, pieces)


async def _lines(
    turn: TurnFollower, first: Piece | None, pieces: AsyncGenerator[Piece | None], writer: ChunkWriter
) -> AsyncGenerator[str]:
    """Yield the lines of a stream: chunks, comments while the model is silent, and at last [DONE] or an error."""
    try:
        yield writer.begin() + (writer.write(first) if first else "")
        async for piece in pieces:
            if line := writer.write(piece) if piece else COMMENT:
                yield line
    except Exception as error:
        yield error_line(error)
    finally:
        await _leave(turn, pieces)


async def _leave(turn: TurnFollower, pieces: AsyncGenerator[Any]) -> None:
    """Stop following a turn. Cancel it if no other client can follow it."""
    if not (turn.in_session or turn.is_over):
        task = asyncio.create_task(_cancel(turn))
        _cancellations.add(task)
        task.add_done_callback(_cancellations.discard)
    await pieces.aclose()


async def _cancel(turn: TurnFollower) -> None:
    with suppress(NothingToCancel, Session.DoesNotExist):
        try:
            announce(await in_thread(attempts.cancel)(turn.session_id, turn.turn_id))
        except DatabaseError as error:
            # The turn goes on to its end, though no client waits for it.
            logger.warning("completion_not_stopped", turn_id=str(turn.turn_id), error=type(error).__name__)
