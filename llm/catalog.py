"""Which models there are and how one is called: the only door that `agents` and `sessions` use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from decimal import Decimal

from llm import scripted
from llm.deadlines import with_deadlines
from llm.types import Chunk, ModelRequest


def is_scripted(model: str) -> bool:
    """Say whether the name belongs to the built-in demo model."""
    return model == scripted.NAME


def preload(model: str) -> None:
    """Load what a model needs before the first request; LiteLLM takes seconds, so a worker does it at its start."""
    if not is_scripted(model):
        from llm import gateway

        gateway.preload()


def cost(model: str, *, input_tokens: int, output_tokens: int) -> Decimal | None:
    """Return what a call cost, in US dollars by public prices; None where no price is known. Only for workers."""
    if is_scripted(model):
        return Decimal(0)
    from llm import gateway

    return gateway.cost(model, input_tokens=input_tokens, output_tokens=output_tokens)


def stream(request: ModelRequest) -> AsyncGenerator[Chunk]:
    """Call a model and yield the chunks of its answer, the last one an EndChunk.

    Closing the iterator ends the request. Raises `ModelError`; after the first chunk nothing is tried again.
    """
    if is_scripted(request.model):
        chunks = scripted.stream(request)
    else:
        # Only workers come here; the web process must never load LiteLLM (160 MB and seconds of import).
        from llm import gateway

        chunks = gateway.stream(request)
    return with_deadlines(chunks, first=request.first_token_timeout, idle=request.idle_timeout)
