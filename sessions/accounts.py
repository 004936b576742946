"""On whose account a model is called: with a key of the user's own, or with this server's and within the budgets.

The only way from a turn to a model. A user's own key means their provider, their bill and no other model in its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from llm import calls, embeddings
from llm.calls import CallRecord, Observer
from llm.embeddings import EmbeddingRequest, Vectors
from llm.errors import ModelNotAuthorized
from llm.types import Chunk, Message, ModelRequest
from sessions import budgets, providerkeys
from sessions.changes import CallRefused, Claimed
from sessions.protocol import ErrorCode
from sessions.threads import in_thread


async def stream(held: Claimed, request: ModelRequest, *, tell: Observer) -> AsyncGenerator[Chunk]:
    """Call a model for a turn (`llm.calls.stream`). Raises ModelError, CallRefused and StaleAttempt."""
    provider = request.model.partition("/")[0]
    endpoint = None
    if provider in held.own_keys:
        endpoint = await in_thread(providerkeys.endpoint)(held.owner_id, provider)
    if endpoint:
        chunks = calls.stream(replace(request, endpoint=endpoint, fallbacks=()), tell=tell)
    elif held.budgets:
        chunks = _within_budgets(held, request, tell)
    else:
        chunks = calls.stream(request, tell=tell)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
    except ModelNotAuthorized as error:
        if endpoint is None:
            raise
        text = f"The provider {provider} did not accept your key. Store another one, or delete it."
        raise CallRefused(ErrorCode.PROVIDER_KEY_REFUSED, text) from error


async def embed(held: Claimed, request: EmbeddingRequest, *, tell: Observer) -> Vectors:
    """Have embeddings made for a turn, within its budgets. Raises ModelError, CallRefused and StaleAttempt.

    With this server's key always: those of users are for models that talk.
    """
    if held.budgets:
        # What it may cost is what a model costs that reads the same and says next to nothing.
        texts = (text if isinstance(text, str) else "token " * len(text) for text in request.inputs)
        messages = tuple(Message(role="user", content=text) for text in texts)
        reading = ModelRequest(model=request.model, messages=messages, max_output_tokens=1)
        await in_thread(budgets.reserve)(held, reading)
    return await embeddings.embed(request, tell=tell)


def _within_budgets(held: Claimed, request: ModelRequest, tell: Observer) -> AsyncGenerator[Chunk]:
    spent = Decimal()

    def note(call: CallRecord) -> None:
        nonlocal spent
        spent += call.cost or 0
        tell(call)

    async def permit(call: ModelRequest) -> None:
        await in_thread(budgets.reserve)(held, call, spent)

    return calls.stream(request, tell=note, permit=permit)
