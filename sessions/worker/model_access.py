"""Calls models for turns: with the user's own key, or with this server's keys and within the budgets.

No other module may call a model for a turn. A user's key is valid for one provider only, so calls with it have no
fallback models.
"""

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
from sessions.protocol.codes import ErrorCode
from sessions.results import Claim


async def stream(claim: Claim, request: ModelRequest, *, observe: Observer) -> AsyncGenerator[Chunk]:
    """Call a model for a turn (`llm.calls.stream`). Raises ModelError, ModelCallDenied and StaleAttempt."""
    endpoint = await _own_endpoint(claim, request.model)
    if endpoint:
        chunks = calls.stream(replace(request, endpoint=endpoint, fallbacks=()), observe=observe)
    elif claim.budgets:
        chunks = _within_budgets(claim, request, observe)
    else:
        chunks = calls.stream(request, observe=observe)
    with _explain_refused_key(endpoint, request.model):
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def embed(claim: Claim, request: EmbeddingRequest, *, observe: Observer) -> Vectors:
    """Make embeddings for a turn (`llm.embeddings.embed`). Raises ModelError, ModelCallDenied and StaleAttempt."""
    endpoint = await _own_endpoint(claim, request.model)
    if claim.budgets and not endpoint:
        # Embeddings cost as much as a model that reads the same and writes next to nothing.
        texts = (text if isinstance(text, str) else "four" * len(text) for text in request.inputs)
        messages = tuple(ModelMessage(role="user", content=text) for text in texts)
        equivalent = ModelRequest(model=request.model, messages=messages, max_output_tokens=1)
        await in_thread(budgets.reserve)(claim, equivalent)
    with _explain_refused_key(endpoint, request.model):
        return await embeddings.embed(replace(request, endpoint=endpoint), observe=observe)


async def _own_endpoint(claim: Claim, model: str) -> Endpoint | None:
    """Return the endpoint of the user's own key for a model's provider, if there is one. Raises ModelCallDenied."""
    provider = model.partition("/")[0]
    return await in_thread(provider_keys.endpoint)(claim.owner_id, provider) if provider in claim.own_keys else None


@contextmanager
def _explain_refused_key(endpoint: Endpoint | None, model: str) -> Iterator[None]:
    """Raise ModelCallDenied when the provider refuses the user's own key."""
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
        # An answer costs no more than was reserved only when the request limits its length.
        call = replace(call, max_output_tokens=call.max_output_tokens or catalog.find(call.model).max_output)
        await in_thread(budgets.reserve)(claim, call, spent)
        return call

    return calls.stream(request, observe=add_cost, permit=permit)
