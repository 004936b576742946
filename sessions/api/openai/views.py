"""The endpoints of the OpenAI-compatible door, below `/v1/`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import structlog
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from ninja import Router

from sessions.api.commands import announce, store_timeout
from sessions.api.http import owner, streamed, writable_of
from sessions.api.openai import live_session, requests
from sessions.api.openai.errors import invalid, of_error
from sessions.api.openai.models import described, listed
from sessions.api.openai.requests import ChatRequest, EmbeddingRequest
from sessions.api.openai.responses import COMMENT, Chunks, Whole, data, embeddings
from sessions.api.openai.turn_stream import Answer, End, Piece
from sessions.api.streaming import unless_signed_out, until_signed_out, with_heartbeat
from sessions.broker import require_broker
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import NothingToCancel
from sessions.models import Session
from sessions.protocol import MAX_KEY_LENGTH
from sessions.turns import attempts, completions
from sessions.turns.completions import CompletionRequest

logger = structlog.get_logger(__name__)

router = Router(tags=["OpenAI"])

#: Seconds of silence after which a stream begins, or gets a comment. What fails before it begins is answered with the
#: status of the failure.
HEARTBEAT_SECONDS = 5.0

#: Turns that are being stopped; the event loop itself keeps no task alive.
_stopping: set[asyncio.Task[None]] = set()


@router.get("/models")
async def list_models(request: HttpRequest) -> JsonResponse:
    """List the models that a request may name, our agents first."""
    return JsonResponse({"object": "list", "data": listed()})


@router.get("/models/{path:model}")
async def get_model(request: HttpRequest, model: str) -> JsonResponse:
    """Return one model."""
    return JsonResponse(described(model))


@router.post("/chat/completions")
async def create_completion(request: HttpRequest, body: ChatRequest) -> HttpResponseBase:
    """Ask a model or an agent; with `stream` the answer comes in chunks."""
    writable = writable_of(request) if body.stream else None
    key = request.headers.get("X-CodeLab-Session")
    if key is None:
        answer = await _ask(request, requests.chat(body), writable)
    else:
        answer = await _send(request, body, key, writable)
    if not body.stream:
        return JsonResponse(await unless_signed_out(_whole(answer, body.model), caller_of(request)))
    chunks = Chunks(answer.turn_id, body.model, include_usage=body.include_usage)
    pieces = with_heartbeat(answer.pieces(), HEARTBEAT_SECONDS)
    try:
        first = await anext(pieces)
    except BaseException:
        await _leave(answer, pieces)
        raise
    lines = _lines(answer, first, pieces, chunks)
    return streamed(until_signed_out(lines, caller_of(request), _last_line), "text/event-stream")


@router.post("/embeddings")
async def create_embeddings(request: HttpRequest, body: EmbeddingRequest) -> JsonResponse:
    """Return the embeddings of texts."""
    answer = await _ask(request, requests.embeddings(body))
    return JsonResponse(await unless_signed_out(_embedded(answer, body), caller_of(request)))


async def _ask(request: HttpRequest, asked: CompletionRequest, writable: asyncio.Event | None = None) -> Answer:
    """Store a request of its own."""
    caller = caller_of(request)
    await caller.authorize(Action.COMPLETION)
    async with store_timeout() as deadline:
        await require_broker()
        accept = in_thread(completions.accept)
        accepted = await accept(owner(request).pk, asked, api_key=caller.api_key, deadline=deadline)
    announce(accepted)
    return Answer(accepted.session_id, accepted.turn_id, accepted.number, writable=writable)


async def _send(request: HttpRequest, body: ChatRequest, key: str, writable: asyncio.Event | None) -> Answer:
    """Store what a request has for a live session."""
    caller = caller_of(request)
    await caller.authorize(Action.WRITE)
    client_message_id = request.headers.get("Idempotency-Key") or None
    if client_message_id and len(client_message_id) > MAX_KEY_LENGTH:
        raise invalid("Idempotency-Key", f"A key has at most {MAX_KEY_LENGTH} characters.")
    session = await live_session.session_of(owner(request).pk, key)
    new = live_session.news(body)
    for _ in new.pictures:
        await caller.authorize(Action.IMAGE)
    if new.said:
        await caller.authorize(Action.TURN)
    async with store_timeout() as deadline:
        turn_id, number = await live_session.send(
            session, new, client_message_id=client_message_id, api_key=caller.api_key, deadline=deadline
        )
    names = body.tool_names

    async def take_calls() -> list[dict[str, Any]]:
        return await in_thread(live_session.take_calls)(turn_id, names)

    handed = take_calls if names else None
    return Answer(session.pk, turn_id, number, in_session=True, writable=writable, take=handed)


def _last_line(error: Exception) -> str:
    return data(of_error(error).body)


async def _whole(answer: Answer, model: str) -> dict[str, Any]:
    """Wait for the end of an answer."""
    whole = Whole(answer.turn_id, model)
    pieces = answer.pieces()
    try:
        async for piece in pieces:
            if (body := whole.read(piece)) is not None:
                return body
        raise AssertionError("the last piece is an End")
    finally:
        await _leave(answer, pieces)


async def _lines(
    answer: Answer, first: Piece | None, pieces: AsyncGenerator[Piece | None], chunks: Chunks
) -> AsyncGenerator[str]:
    """Yield the lines of a stream: chunks, comments while the model is silent, and at last [DONE] or an error."""
    try:
        yield chunks.begin() + (chunks.write(first) if first else "")
        async for piece in pieces:
            if line := chunks.write(piece) if piece else COMMENT:
                yield line
    except Exception as error:
        yield data(of_error(error).body)
    finally:
        await _leave(answer, pieces)


async def _leave(answer: Answer, pieces: AsyncGenerator[Any]) -> None:
    """Follow a turn no longer; one that nobody else can follow is stopped."""
    if not (answer.in_session or answer.over):
        stopping = asyncio.create_task(_stop(answer.session_id, answer.turn_id))
        _stopping.add(stopping)
        stopping.add_done_callback(_stopping.discard)
    await pieces.aclose()


async def _stop(session_id: uuid.UUID, turn_id: uuid.UUID) -> None:
    with suppress(NothingToCancel, Session.DoesNotExist):
        try:
            announce(await in_thread(attempts.cancel)(session_id, turn_id))
        except DatabaseError as error:
            # The turn goes on to its end, for nobody.
            logger.warning("completion_not_stopped", turn_id=str(turn_id), error=type(error).__name__)


async def _embedded(answer: Answer, body: EmbeddingRequest) -> dict[str, Any]:
    pieces = answer.pieces()
    try:
        async for piece in pieces:
            if isinstance(piece, End):
                return embeddings(piece.outcome, body.model, packed=body.encoding_format == "base64")
        raise AssertionError("the last piece is an End")
    finally:
        await _leave(answer, pieces)
