"""On whose account a model is called: with a key of the user's own, or with this server's and within the budgets.

The only way from a turn to a model. A user's own key means their provider, their bill and no other model in its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from decimal import Decimal

from llm import calls, catalog, embeddings
from llm.errors import ModelNotAuthorized
from llm.types import CallRecord, Chunk, EmbeddingRequest, Endpoint, ModelMessage, ModelRequest, Observer, Vectors
from sessions.billing import budgets, provider_keys
from sessions.database import in_thread
from sessions.errors import ModelCallDenied
from sessions.protocol import ErrorCode
from sessions.results import Claim


async def stream(claim: Claim, request: ModelRequest, *, observe: Observer) -> AsyncGenerator[Chunk]:
    """Call a model for a turn (`llm.calls.stream`). Raises ModelError, ModelCallDenied and StaleAttempt."""
    endpoint = await _own(claim, request.model)
    if endpoint:
        chunks = calls.stream(replace(request, endpoint=endpoint, fallbacks=()), observe=observe)
    elif claim.budgets:
        chunks = _within_budgets(claim, request, observe)
    else:
        chunks = calls.stream(request, observe=observe)
    with _refusal(endpoint, request.model):
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def embed(claim: Claim, request: EmbeddingRequest, *, observe: Observer) -> Vectors:
    """Have embeddings made for a turn (`llm.embeddings.embed`). Raises ModelError, ModelCallDenied and StaleAttempt."""
    endpoint = await _own(claim, request.model)
    if claim.budgets and not endpoint:
        # What it may cost is what a model costs that reads the same and says next to nothing.
        texts = (text if isinstance(text, str) else "four" * len(text) for text in request.inputs)
        messages = tuple(ModelMessage(role="user", content=text) for text in texts)
        reading = ModelRequest(model=request.model, messages=messages, max_output_tokens=1)
        await in_thread(budgets.reserve)(claim, reading)
    with _refusal(endpoint, request.model):
        return await embeddings.embed(replace(request, endpoint=endpoint), observe=observe)


async def _own(claim: Claim, model: str) -> Endpoint | None:
    """Return what a user's own key for a model's provider is good for, if there is one. Raises ModelCallDenied."""
    provider = model.partition("/")[0]
    return await in_thread(provider_keys.endpoint)(claim.owner_id, provider) if provider in claim.own_keys else None


@contextmanager
def _refusal(endpoint: Endpoint | None, model: str) -> Iterator[None]:
    """Tell a user whose own key was not accepted what can be done about it. Raises ModelCallDenied."""
    try:
        yield
    except ModelNotAuthorized as error:
        if endpoint is None:
            raise
        text = f"The provider {model.partition('/')[0]} did not accept your key. Store another one, or delete it."
        raise ModelCallDenied(ErrorCode.PROVIDER_KEY_REFUSED, text) from error


def _within_budgets(claim: Claim, request: ModelRequest, observe: Observer) -> AsyncGenerator[Chunk]:
    spent = Decimal()

    def add_cost(call: CallRecord) -> None:
        nonlocal spent
        spent += call.cost or 0
        observe(call)

    async def permit(call: ModelRequest) -> ModelRequest:
        # What was reserved is the most that the answer can cost only where the model is told to stop there.
        call = replace(call, max_output_tokens=call.max_output_tokens or catalog.find(call.model).max_output)
        await in_thread(budgets.reserve)(claim, call, spent)
        return call

    return calls.stream(request, observe=add_cost, permit=permit)
