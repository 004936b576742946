"""Makes embeddings of texts by one call of one model. There are no fallbacks: vectors of other models differ.

The observer receives each call once, with its usage, however it ends (`llm.calls`).
"""

import asyncio
import hashlib
import json
import math
import time
from datetime import UTC, datetime

from llm import catalog, errors, prices
from llm.calls import BILLABLE_ERRORS, load_client
from llm.errors import ModelError
from llm.types import CallOutcome, CallRecord, EmbeddingRequest, Observer, TokenUsage, Vectors

#: Of the vectors of the built-in scripted model.
SCRIPTED_DIMENSIONS = 16


async def embed(request: EmbeddingRequest, *, observe: Observer) -> Vectors:
    """Return the vectors of texts. Raises ModelError."""
    started_at, began = datetime.now(UTC), time.monotonic()
    # A cancelled call counts, too: the provider may have worked on it, and may charge for it.
    outcome, error_code, detail, usage = CallOutcome.CANCELLED, "", "", _estimate(request)
    try:
        async with asyncio.timeout(request.call_timeout):
            result = await _request_vectors(request)
        if len(result.vectors) != len(request.inputs):
            raise errors.ModelTruncated(f"{len(result.vectors)} vectors for {len(request.inputs)} texts")
        outcome, usage = CallOutcome.COMPLETED, result.usage if result.usage.input_tokens else usage
    except TimeoutError:
        outcome, error_code = CallOutcome.FAILED, errors.ModelTimedOut.code
        raise errors.ModelTimedOut("no embeddings in time") from None
    except ModelError as error:
        outcome, error_code, detail = CallOutcome.FAILED, error.code, error.detail
        if not isinstance(error, BILLABLE_ERRORS):
            usage = TokenUsage()
        raise
    finally:
        observe(
            CallRecord(
                model=request.model,
                attempt=1,
                outcome=outcome,
                own_endpoint=prices.is_own(request.endpoint),
                error_code=error_code,
                detail=detail,
                usage=usage,
                cost=prices.cost(request.model, usage, own=prices.is_own(request.endpoint)),
                started_at=started_at,
                duration=time.monotonic() - began,
                time_to_first_token=None,
            )
        )
    return result


def _estimate(request: EmbeddingRequest) -> TokenUsage:
    """Estimate what a model reads: four bytes of a text are a token."""
    tokens = sum(
        -(-len(each.encode(errors="replace")) // 4) if isinstance(each, str) else len(each) for each in request.inputs
    )
    return TokenUsage(input_tokens=tokens, estimated=True)


async def _request_vectors(request: EmbeddingRequest) -> Vectors:
    if catalog.is_scripted(request.model):
        return await _scripted_vectors(request)
    # Only workers come here, as in `llm.calls`.
    if provider := catalog.provider_of(request.model):
        await load_client(request.model)
        from llm import direct

        return await direct.embed(request, provider)
    from llm import gateway

    return await gateway.embed(request)


async def _scripted_vectors(request: EmbeddingRequest) -> Vectors:
    """Return vectors that depend on the texts alone."""
    size = request.dimensions or SCRIPTED_DIMENSIONS
    vectors, words = [], 0
    for text in request.inputs:
        seed = (text if isinstance(text, str) else json.dumps(list(text))).encode(errors="replace")
        raw = [byte / 255 - 0.5 for byte in hashlib.shake_256(seed).digest(size)]
        length = math.hypot(*raw) or 1.0
        vectors.append([number / length for number in raw])
        words += text.count(" ") + 1 if isinstance(text, str) else len(text)
        await asyncio.sleep(0)
    return Vectors(vectors, TokenUsage(input_tokens=words))
