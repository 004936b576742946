"""Retry, fallback and the record of each call, however it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing, suppress
from decimal import Decimal
from typing import Any

import pytest

from codelab.environment import PROJECT
from llm import calls, errors
from llm.errors import ModelError
from llm.types import (
    CallOutcome,
    CallRecord,
    Chunk,
    EndChunk,
    Endpoint,
    ModelMessage,
    ModelRequest,
    TextChunk,
    TokenUsage,
)
from tests.llm.recorded import RESET, Recorded, Step, ending, event, text

HELLO = (ModelMessage(role="user", content="Hello, world"),)


def request(model: str = "openai/fake", **changes: object) -> ModelRequest:
    return ModelRequest(**{"model": model, "messages": HELLO, **changes})  # type: ignore[arg-type]


async def ask(wanted: ModelRequest) -> tuple[list[Chunk], list[CallRecord], ModelError | None]:
    records: list[CallRecord] = []
    chunks: list[Chunk] = []
    try:
        async for chunk in calls.stream(wanted, observe=records.append):
            chunks.append(chunk)  # noqa: PERF401 (what came before a failure counts)
    except ModelError as error:
        return chunks, records, error
    return chunks, records, None


async def test_the_observer_gets_a_completed_call(server: Recorded) -> None:
    server.play(*text("a"), 0.1, *text("b"), *ending(read=1_000_000, said=500_000, cached=400_000, reasoning=7))
    _, (record,), _ = await ask(request("openai/gpt-4.1"))
    assert (record.model, record.attempt, record.outcome, record.error_code) == ("openai/gpt-4.1", 1, "completed", "")
    assert record.usage == TokenUsage(
        input_tokens=1_000_000, output_tokens=500_000, cached_tokens=400_000, reasoning_tokens=7
    )
    # 0.6 million at $2, 0.4 at $0.50, 0.5 at $8.
    assert record.cost == Decimal("5.4")
    assert record.time_to_first_token is not None
    assert 0 < record.time_to_first_token <= record.duration - 0.1


async def test_the_observer_gets_a_call_before_its_end_marker_is_passed_on(server: Recorded) -> None:
    server.play(*text("a"), *ending())
    records: list[CallRecord] = []
    async with aclosing(calls.stream(request(), observe=records.append)) as chunks:
        async for chunk in chunks:
            assert bool(records) == isinstance(chunk, EndChunk)
            if isinstance(chunk, EndChunk):
                break
    assert [record.outcome for record in records] == [CallOutcome.COMPLETED]


async def test_missing_usage_is_estimated(server: Recorded) -> None:
    server.play(*text("12345678"), event({}, end="stop"))
    chunks, (record,), _ = await ask(request())
    assert chunks[-1] == EndChunk(reason="stop", usage=record.usage)
    assert record.usage == TokenUsage(input_tokens=3, output_tokens=2, estimated=True)
    assert record.cost is None, "no catalog knows what this model costs"


@pytest.mark.parametrize(
    ("way_out", "shown"), [("cancelled", 0), ("cancelled", 1), ("timed out", 0), ("timed out", 1), ("closed", 1)]
)
async def test_the_observer_gets_a_cancelled_call_once(server: Recorded, way_out: str, shown: int) -> None:
    server.play(*text("a")[:shown], b": silence\n\n", 30.0)
    records: list[CallRecord] = []
    stream = calls.stream(request(), observe=records.append)
    under_way = server.silent if not shown else asyncio.Event()

    async def read() -> None:
        async with aclosing(stream):
            async for _ in stream:
                under_way.set()
                if way_out == "closed":
                    return

    async def run_out_of_time() -> None:
        async with asyncio.timeout(None) as limit:
            stopped.add_done_callback(lambda _: limit.reschedule(0))
            await read()

    # It is stopped when it is known to be under way: how long its first steps take is no part of this.
    stopped = asyncio.create_task(asyncio.wait_for(under_way.wait(), 30))
    task = asyncio.create_task(run_out_of_time() if way_out == "timed out" else read())
    await stopped
    if way_out == "cancelled":
        task.cancel()
    with suppress(asyncio.CancelledError, TimeoutError):
        await task
    await asyncio.wait_for(server.left.wait(), 60)
    (record,) = records
    assert (record.outcome, record.error_code) == (CallOutcome.CANCELLED, "")
    assert record.usage == TokenUsage(input_tokens=3, output_tokens=shown, estimated=True)
    assert (record.time_to_first_token is not None) == bool(shown)
    assert len(server.posts) == 1


async def test_a_cancellation_between_two_calls_is_not_a_call(
    server: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "RETRY_DELAY_SECONDS", 60)
    server.refuse(503)
    records: list[CallRecord] = []
    told = asyncio.Event()

    def observe(record: CallRecord) -> None:
        records.append(record)
        told.set()

    async def read() -> None:
        async for _ in calls.stream(request(), observe=observe):
            pass

    task = asyncio.create_task(read())
    await asyncio.wait_for(told.wait(), 30)
    # What is told of a call comes before the pause that follows it.
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [record.outcome for record in records] == [CallOutcome.FAILED]


async def test_a_stream_that_was_never_started_is_not_a_call(server: Recorded) -> None:
    records: list[CallRecord] = []
    stream = calls.stream(request(), observe=records.append)
    await stream.aclose()
    assert (records, server.posts) == ([], [])


async def test_the_provider_decides_when_to_retry(server: Recorded) -> None:
    server.refuse(429, retry_after="0.3").play(*text("a"), *ending())
    started = asyncio.get_running_loop().time()
    chunks, records, error = await ask(request())
    assert error is None
    assert chunks[0] == TextChunk("a")
    assert len(records) == 2
    assert asyncio.get_running_loop().time() - started >= 0.3


@pytest.mark.parametrize(("retry_after", "more"), [("60", {}), ("2", {"max_retry_delay": 1})])
async def test_a_long_retry_after_leads_to_the_next_model(
    server: Recorded, retry_after: str, more: dict[str, Any]
) -> None:
    server.refuse(429, retry_after=retry_after).play(*text("a"), *ending())
    chunks, _, _ = await ask(request(fallbacks=("openai/b",), **more))
    assert server.models == ["fake", "b"]
    assert chunks[0] == TextChunk("a")


async def test_when_all_fail_the_first_models_error_is_raised(server: Recorded) -> None:
    server.refuse(429, retry_after="60").refuse(401)
    _, records, error = await ask(request(fallbacks=("openai/b",)))
    assert type(error) is errors.ModelRateLimited
    assert error.retry_after == 60
    assert [record.error_code for record in records] == ["model_rate_limited", "model_not_authorized"]


async def test_fallbacks_come_from_the_catalog(server: Recorded) -> None:
    server.refuse(404).play(*text("a"), *ending())
    _, records, _ = await ask(request("openai/gpt-5-mini"))
    assert [record.model for record in records] == ["openai/gpt-5-mini", "openai/gpt-5-nano"]


async def test_the_first_models_error_is_raised_whatever_ends_the_others(server: Recorded) -> None:
    server.refuse(404)
    server.refuse(400, {"error": {"message": "x", "code": "context_length_exceeded"}})
    chunks, records, error = await ask(request(fallbacks=("openai/b",)))
    assert chunks == []
    assert [record.error_code for record in records] == ["model_not_found", "model_context_too_long"]
    assert type(error) is errors.ModelNotFound


async def test_a_callers_key_is_only_for_the_requested_model(server: Recorded) -> None:
    server.refuse(404)
    _, records, _ = await ask(request("openai/gpt-5-mini", endpoint=Endpoint(api_key="sk-alice")))
    assert [record.model for record in records] == ["openai/gpt-5-mini"]


async def test_a_whole_call_has_a_limit(server: Recorded) -> None:
    steps: list[Step] = []
    for i in range(200):
        steps += [*text(f"{i} "), 0.05]
    server.play(*steps)
    chunks, (record,), error = await ask(request(call_timeout=1.5, idle_timeout=1.4))
    assert type(error) is errors.ModelTookTooLong
    assert 1 < len(chunks) < 150
    assert (record.outcome, record.error_code) == (CallOutcome.TRUNCATED, "model_took_too_long")


async def test_a_limit_of_the_whole_call_comes_before_the_others(server: Recorded) -> None:
    server.play(30.0)
    _, _, error = await ask(request(call_timeout=0.3, fallbacks=()))
    assert type(error) is errors.ModelTimedOut


async def test_the_scripted_model_is_observed_and_not_retried() -> None:
    script = (ModelMessage(role="user", content="/fail unavailable"),)
    _, records, error = await ask(ModelRequest(model="scripted", messages=script))
    assert type(error) is errors.ModelUnavailable
    assert [(record.model, record.outcome) for record in records] == [("scripted", CallOutcome.FAILED)]
    _, (record,), _ = await ask(ModelRequest(model="scripted", messages=HELLO))
    assert record.cost == 0


async def test_a_bug_is_observed_too(server: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    server.play(*text("a"), *ending())
    messages = (ModelMessage(role="user", content="Hello"),)
    # No parser of JSON makes this.
    request = ModelRequest(model="openai/x", messages=messages, options={"seed": object()})
    records: list[CallRecord] = []
    with pytest.raises(TypeError):
        async for _ in calls.stream(request, observe=records.append):
            pass
    assert [record.outcome for record in records] == [CallOutcome.FAILED]


async def test_a_limit_on_the_answer_has_the_name_that_the_provider_knows(server: Recorded) -> None:
    server.play(*text("a"), *ending())
    await ask(request(max_output_tokens=5, options={"temperature": 0}))
    assert server.posts[0].body["max_completion_tokens"] == 5
    assert server.posts[0].body["temperature"] == 0


def test_each_error_has_a_recovery() -> None:
    after_output = {errors.ModelStalled, errors.ModelTookTooLong, errors.ModelBrokenToolCall, errors.ModelSaidNothing}
    assert calls.RECOVERIES.keys() | after_output == {*ModelError.__subclasses__(), errors.ModelQuotaReached}


def test_what_is_loaded_is_what_is_needed() -> None:
    code = (
        "import sys; from llm import calls; calls.preload('openai/gpt-5-mini', 'ollama/x'); "
        "print('litellm' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


async def test_a_reset_connection_is_tried_again(server: Recorded) -> None:
    server.play(RESET).play(RESET).play(*text("a"), *ending())
    _, records, error = await ask(request())
    assert error is None
    assert [record.outcome for record in records] == [CallOutcome.FAILED, CallOutcome.FAILED, CallOutcome.COMPLETED]
