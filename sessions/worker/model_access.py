"""Calls models for turns: with the user's own key, or with this server's keys and within the budgets.

No other module may call a model for a turn. A user's key is valid for one provider only, so calls with it have no
fallback models.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from decimal import Decimal

from agents.context import Window
from agents.tokens import count_message, count_tools
from llm import calls, catalog, embeddings, prices, remembered
from llm.errors import ModelNotAuthorized
from llm.types import CallRecord, Chunk, EmbeddingRequest, Endpoint, ModelMessage, ModelRequest, Observer, Vectors
from sessions.billing import budgets, provider_keys
from sessions.database import in_thread
from sessions.errors import ModelCallDenied
from sessions.protocol.codes import ErrorCode
from sessions.results import Claim


async def stream(
    claim: Claim, request: ModelRequest, *, observe: Observer, spent: Decimal = budgets.ZERO
) -> AsyncGenerator[Chunk]:
    """Call a model for a turn (`llm.calls.stream`). Raises ModelError, ModelCallDenied and StaleAttempt.

    `spent` is the cost of the attempt's calls before.
    """
    endpoint = await in_thread(_own_endpoint)(claim, request.model) if _has_key(claim, request.model) else None
    if endpoint:
        request = replace(request, endpoint=endpoint, fallbacks=())
    if claim.budgets and not prices.is_own(endpoint):
        chunks = _within_budgets(claim, request, observe, spent)
    else:
        chunks = calls.stream(request, observe=observe)
    with _explain_refused_key(endpoint, request.model):
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk


async def pay_ahead(claim: Claim, request: ModelRequest) -> tuple[ModelRequest, Decimal]:
    """Return a request beside a turn's steps as it may be made, and what the budgets have counted ahead for it.

    No reservation could be settled when the turn has ended, so the highest cost counts at once, and what is too much is
    given back with the record of the call. Raises ModelCallDenied.
    """
    endpoint = await in_thread(_own_endpoint)(claim, request.model) if _has_key(claim, request.model) else None
    request = replace(request, endpoint=endpoint)
    if not claim.budgets or prices.is_own(endpoint):
        return request, budgets.ZERO
    return request, await in_thread(budgets.pay_ahead)(claim, request)


def stream_paid(request: ModelRequest, *, observe: Observer) -> AsyncGenerator[Chunk]:
    """Make a request that `pay_ahead` has returned. Raises ModelError."""
    return calls.stream(request, observe=observe)


def stream_for_operator(request: ModelRequest, *, observe: Observer) -> AsyncGenerator[Chunk]:
    """Call a model at the operator's expense, for a replay. Raises ModelError."""
    return calls.stream(request, observe=observe)


async def embed(claim: Claim, request: EmbeddingRequest, *, observe: Observer) -> Vectors:
    """Make embeddings for a turn (`llm.embeddings.embed`). Raises ModelError, ModelCallDenied and StaleAttempt."""
    endpoint = await in_thread(_own_endpoint)(claim, request.model) if _has_key(claim, request.model) else None
    if claim.budgets and not prices.is_own(endpoint):
        # Embeddings cost as much as a model that reads the same and writes next to nothing.
        texts = (text if isinstance(text, str) else "four" * len(text) for text in request.inputs)
        messages = tuple(ModelMessage(role="user", content=text) for text in texts)
        equivalent = ModelRequest(model=request.model, messages=messages, max_output_tokens=1)
        await in_thread(budgets.reserve)(claim, equivalent)
    with _explain_refused_key(endpoint, request.model):
        return await embeddings.embed(replace(request, endpoint=endpoint), observe=observe)


def window(claim: Claim, model: str) -> Window:
    """Return how much a turn's model reads, as the catalog says or its provider has said. Raises ModelCallDenied."""
    endpoint = _own_endpoint(claim, model) if _has_key(claim, model) else None
    learned = remembered.window(model, endpoint)
    # No answer here needs more than a quarter of the window.
    answer = remembered.max_output(model, endpoint)
    return Window(tokens=learned or catalog.find(model).window, answer=answer, is_certain=not learned)


def _has_key(claim: Claim, model: str) -> bool:
    return model.partition("/")[0] in claim.own_keys


def _own_endpoint(claim: Claim, model: str) -> Endpoint | None:
    """Return the endpoint of the user's own key for a model's provider, if there is one. Raises ModelCallDenied."""
    endpoint = provider_keys.endpoint(claim.owner_id, model.partition("/")[0])
    if endpoint and not endpoint.api_base and catalog.is_on_operators_server(model):
        return replace(endpoint, is_callers_expense=False)
    return endpoint


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


def _within_budgets(claim: Claim, request: ModelRequest, observe: Observer, spent: Decimal) -> AsyncGenerator[Chunk]:
    def add_cost(call: CallRecord) -> None:
        nonlocal spent
        spent += call.cost or 0
        observe(call)

    async def permit(call: ModelRequest) -> ModelRequest:
        return await in_thread(_reserve)(claim, call, spent)

    return calls.stream(request, observe=add_cost, permit=permit)


def _reserve(claim: Claim, call: ModelRequest, spent: Decimal) -> ModelRequest:
    """Reserve what a call may cost. Return it with a limit on its answer: without one it may cost more."""
    if call.max_output_tokens is None:
        call = replace(call, max_output_tokens=_max_output_tokens(call))
    budgets.reserve(claim, call, spent)
    return call


def _max_output_tokens(call: ModelRequest) -> int:
    """Return a limit on the answer that a provider accepts beside the input."""
    limit = remembered.max_output(call.model, call.endpoint)
    window = remembered.window(call.model, call.endpoint) or catalog.find(call.model).window
    if prices.max_input_tokens(call) + limit <= window:
        return limit
    return remembered.fit_output(call, sum(map(count_message, call.messages)) + count_tools(call.tools))
