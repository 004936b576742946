"""Embeddings: texts in, vectors out, by one call of one model. Other models cannot stand in: their vectors differ.

Each call is told to the caller once, with what it used, however it ends (`llm.calls`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from datetime import UTC, datetime

from llm import catalog, errors, prices
from llm.calls import UNTOLD
from llm.errors import ModelError
from llm.types import CallOutcome, CallRecord, EmbeddingRequest, Observer, Usage, Vectors

#: Numbers of a vector of the built-in model.
SCRIPTED_DIMENSIONS = 16


async def embed(request: EmbeddingRequest, *, observe: Observer) -> Vectors:
    """Return the vectors of texts. Raises ModelError."""
    started_at, began = datetime.now(UTC), time.monotonic()
    # Also for a call that was cancelled: the provider may have worked on it, and wants to be paid.
    outcome, error_code, detail, usage = CallOutcome.CANCELLED, "", "", _estimate(request)
    try:
        async with asyncio.timeout(request.call_timeout):
            found = await _vectors(request)
        if len(found.vectors) != len(request.inputs):
            raise errors.ModelTruncated(f"{len(found.vectors)} vectors for {len(request.inputs)} texts")
        outcome, usage = CallOutcome.COMPLETED, found.usage if found.usage.input_tokens else usage
    except TimeoutError:
        outcome, error_code = CallOutcome.FAILED, errors.ModelTimedOut.code
        raise errors.ModelTimedOut("no embeddings in time") from None
    except ModelError as error:
        outcome, error_code, detail = CallOutcome.FAILED, error.code, error.detail
        if not isinstance(error, UNTOLD):
            usage = Usage()
        raise
    finally:
        observe(
            CallRecord(
                model=request.model,
                attempt=1,
                outcome=outcome,
                own_endpoint=request.endpoint is not None,
                error_code=error_code,
                detail=detail,
                usage=usage,
                cost=prices.cost(request.model, usage, own=request.endpoint is not None),
                started_at=started_at,
                duration=time.monotonic() - began,
                time_to_first_token=None,
            )
        )
    return found


def _estimate(request: EmbeddingRequest) -> Usage:
    """Estimate what a model reads; four bytes are a token where they are not counted already."""
    read = sum(
        -(-len(each.encode(errors="replace")) // 4) if isinstance(each, str) else len(each) for each in request.inputs
    )
    return Usage(input_tokens=read, estimated=True)


async def _vectors(request: EmbeddingRequest) -> Vectors:
    if catalog.is_scripted(request.model):
        return _scripted(request)
    # Only workers come here, as in `llm.calls`.
    if provider := catalog.provider_of(request.model):
        from llm import direct

        return await direct.embed(request, provider)
    from llm import gateway

    return await gateway.embed(request)


def _scripted(request: EmbeddingRequest) -> Vectors:
    """Return a vector that is a function of the text alone."""
    size = request.dimensions or SCRIPTED_DIMENSIONS
    vectors = []
    for text in request.inputs:
        seed = (text if isinstance(text, str) else json.dumps(list(text))).encode(errors="replace")
        raw = [hashlib.sha256(seed + str(i).encode()).digest()[0] / 255 - 0.5 for i in range(size)]
        length = math.hypot(*raw) or 1.0
        vectors.append([number / length for number in raw])
    words = sum(len(text.split()) if isinstance(text, str) else len(text) for text in request.inputs)
    return Vectors(vectors, Usage(input_tokens=words))
