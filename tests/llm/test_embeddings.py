"""The records of calls for embeddings, however they end."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from decimal import Decimal

import pytest

from llm import embeddings
from llm.errors import ModelError
from llm.types import CallOutcome, CallRecord, EmbeddingRequest, Endpoint, TokenUsage
from tests.llm.recorded import Recorded

REQUEST = EmbeddingRequest(model="openai/text-embedding-3-small", inputs=("eight by", (1, 2, 3)))
ESTIMATE = TokenUsage(input_tokens=5, estimated=True)


def answer(vectors: int = 2, **more: object) -> bytes:
    return json.dumps({"data": [{"index": i, "embedding": [0.5]} for i in range(vectors)], **more}).encode()


async def told(server: Recorded, request: EmbeddingRequest = REQUEST) -> CallRecord:
    records: list[CallRecord] = []
    with_error = False
    try:
        await embeddings.embed(request, observe=records.append)
    except ModelError:
        with_error = True
    (record,) = records
    assert with_error == (record.outcome != CallOutcome.COMPLETED)
    return record


async def test_the_observer_gets_the_providers_usage(server: Recorded) -> None:
    server.play(answer(usage={"prompt_tokens": 1_000_000, "total_tokens": 1_000_000}), content_type="application/json")
    record = await told(server)
    assert (record.outcome, record.usage.input_tokens, str(record.cost)) == (CallOutcome.COMPLETED, 1_000_000, "0.02")
    record = await told(server, replace(REQUEST, endpoint=Endpoint(api_key="sk-alice")))
    assert (record.own_endpoint, record.cost) == (True, Decimal())


@pytest.mark.parametrize("vectors", [2, 1], ids=["all of them", "too few"])
async def test_missing_usage_is_estimated(server: Recorded, vectors: int) -> None:
    server.play(answer(vectors), content_type="application/json")
    assert (await told(server)).usage == ESTIMATE


async def test_a_refused_call_costs_nothing(server: Recorded) -> None:
    server.refuse(429)
    record = await told(server)
    assert (record.outcome, record.error_code, record.usage) == (CallOutcome.FAILED, "model_rate_limited", TokenUsage())


async def test_a_server_that_makes_no_embeddings_refuses(server: Recorded) -> None:
    error = {"message": "This server does not support embeddings.", "type": "not_supported_error", "code": 501}
    server.refuse(501, {"error": error})
    assert (await told(server)).error_code == "model_refused"
    assert len(server.posts) == 1


async def test_a_call_that_timed_out_may_cost_something(server: Recorded) -> None:
    server.play(30.0)
    record = await told(server, replace(REQUEST, call_timeout=1.5))
    assert (record.outcome, record.error_code, record.usage) == (CallOutcome.FAILED, "model_timed_out", ESTIMATE)


async def test_a_cancelled_call_may_cost_something(server: Recorded) -> None:
    server.play(30.0)
    records: list[CallRecord] = []
    task = asyncio.create_task(embeddings.embed(REQUEST, observe=records.append))
    await asyncio.wait_for(server.silent.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(record.outcome, record.usage) for record in records] == [(CallOutcome.CANCELLED, ESTIMATE)]


async def test_scripted_vectors_of_long_texts_take_no_time() -> None:
    began = time.process_time()
    request = EmbeddingRequest(model="scripted", inputs=("a" * 10_000_000, "b", "b"), dimensions=8_192)
    first, second, third = (await embeddings.embed(request, observe=lambda _: None)).vectors
    assert len(first) == 8_192
    assert first != second == third
    assert time.process_time() - began < 1
