"""On whose account a model is called: with a key of the user's own, or with this server's and within the budgets.

The only way from a turn to a model. A user's own key means their provider, their bill and no other model in its place.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

from llm import calls
from llm.calls import CallRecord, Observer
from llm.errors import ModelNotAuthorized
from llm.types import Chunk, ModelRequest
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


def _within_budgets(held: Claimed, request: ModelRequest, tell: Observer) -> AsyncGenerator[Chunk]:
    spent = Decimal()

    def note(call: CallRecord) -> None:
        nonlocal spent
        spent += call.cost or 0
        tell(call)

    async def permit(call: ModelRequest) -> None:
        await in_thread(budgets.reserve)(held, call, spent)

    return calls.stream(request, tell=note, permit=permit)
