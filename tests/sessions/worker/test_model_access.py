"""Keys and budgets for model calls: turns that a worker runs against a provider over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from django.contrib.auth.models import User
from django.db import connection
from prometheus_client import REGISTRY
from pytest_django import Settings

from llm import catalog
from sessions.billing import provider_keys
from sessions.models import Budget, CompletionKind, Event, EventKind, ModelCall, ModelCallOutcome, Session, ToolCall
from sessions.turns import attempts, completions, tool_calls
from sessions.turns.completions import CompletionRequest
from sessions.turns.deletion import delete_session
from sessions.turns.sessions import open_session
from tests.live.provider import Provider
from tests.sessions.worker.worker import MODEL, Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)

#: Input is free. Output costs a dollar a token, ten tokens at most; the provider counts five for an answer.
CATALOG = f"""
[models."{MODEL}"]
max_output = 10
prices = [{{ input = 0, output = 1000000 }}]
"""


@pytest.fixture
async def worker(
    provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Worker]:
    file = tmp_path / "models.toml"
    file.write_text(CATALOG)
    catalog.use([file])
    async with worker_of(provider.url, settings, monkeypatch) as it:
        yield it
    catalog.use([])


def ledger() -> list[tuple[Any, ...]]:
    rows = ModelCall.objects.order_by("pk")
    return list(rows.values_list("number", "outcome", "error_code", "input_tokens", "output_tokens", "cost", "own_key"))


async def state(row: Budget) -> list[int]:
    await look(row.refresh_from_db)
    return [int(row.spent), int(row.reserved)]


def failure() -> dict[str, Any]:
    payload: dict[str, Any] = Event.objects.filter(kind=EventKind.TURN_FAILED).order_by("-number")[0].payload
    return payload


async def test_the_ledger_has_a_row_for_each_call_of_a_step(worker: Worker, session: Session) -> None:
    await worker.answer(session, "tokens=2")
    await worker.answer(session, "status=503")
    failed = [(number, "failed", "model_unavailable", 0, 0, 0, False) for number in (1, 2, 3)]
    assert await look(ledger) == [(1, "ok", "", 7, 5, 5, False), *failed]


async def test_the_providers_words_are_for_staff_alone(
    worker: Worker, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as logs:
        await worker.answer(session, "status=400")
    (detail,) = await look(lambda: list(ModelCall.objects.values_list("detail", flat=True)))
    assert "secret detail" in detail
    payloads = await look(lambda: list(Event.objects.values_list("payload", flat=True)))
    assert "secret detail" not in f"{logs} {payloads} {caplog.text}"
    assert [line["reason"] for line in logs if line["event"] == "model_call_failed"] == ["HTTP 400"]
    # They may repeat what the user wrote, so they go with it.
    await look(lambda: delete_session(session.pk))
    assert await look(lambda: list(ModelCall.objects.values_list("detail", "error_code"))) == [("", "model_refused")]


async def test_models_of_no_catalog_are_one_series(worker: Worker, session: Session, settings: Settings) -> None:
    def count(model: str) -> float:
        return REGISTRY.get_sample_value("model_tokens_total", {"model": model, "direction": "input"}) or 0.0

    other, known = count("other"), count(MODEL)
    await worker.answer(session, "tokens=2")
    settings.CODELAB_MODEL = "openai/of-some-user"
    await worker.answer(session, "tokens=2")
    assert (count(MODEL) - known, count("other") - other, count("openai/of-some-user")) == (7, 7, 0)


async def test_the_ledger_has_a_truncated_answer_as_truncated(worker: Worker, session: Session) -> None:
    await worker.answer(session, "tokens=3 no_end=1")
    ((_, outcome, code, read, said, _, _),) = await look(ledger)
    assert (outcome, code) == ("truncated", "model_truncated")
    assert read > 0
    assert said > 0


async def test_a_turn_fails_when_its_budget_is_exhausted(worker: Worker, session: Session) -> None:
    row = await look(lambda: Budget.objects.create(owner=session.owner, limit=14, period="day"))
    await worker.answer(session, "tokens=2")
    await worker.answer(session, "tokens=2")
    assert len(await look(ledger)) == 1
    told = await look(failure)
    assert told["error_code"] == "budget_exhausted"
    assert 0 < told["retry_after"] <= 24 * 60 * 60
    assert await state(row) == [5, 0]


async def test_64_turns_at_once_stay_within_one_budget(worker: Worker, alice: User, provider: Provider) -> None:
    """Each may cost 10 dollars and costs 5, and the model is told to stop at 10."""
    asked = len(provider.requests)
    row = await look(lambda: Budget.objects.create(owner=alice, limit=100))
    sessions = await look(lambda: [open_session(alice.pk, f"crowd {number}") for number in range(64)])
    await asyncio.gather(*(worker.answer(session, "tokens=2") for session in sessions))
    answered = len(provider.requests) - asked
    assert 10 <= answered <= 20
    assert await state(row) == [5 * answered, 0]
    assert all(request["max_completion_tokens"] == 10 for request in provider.requests[asked:])
    refused = await look(lambda: Event.objects.filter(payload__error_code="budget_exhausted").count())
    assert answered + refused == 64


@pytest.mark.parametrize(("limit", "spent"), [(50, 9), (1, 0)])
async def test_embeddings_are_within_the_budget(
    worker: Worker, alice: User, tmp_path: Path, limit: int, spent: int
) -> None:
    file = tmp_path / "embeddings.toml"
    file.write_text(f'[models."{MODEL}"]\nprices = [{{ input = 1000000, output = 0 }}]\n')
    catalog.use([file])
    row = await look(lambda: Budget.objects.create(owner=alice, limit=limit))
    asked = CompletionRequest(model=MODEL, kind=CompletionKind.EMBEDDINGS, messages=["one", [7]])
    accepted = await look(lambda: completions.accept(alice.pk, asked))
    await worker.run(accepted.turn_id)
    assert await state(row) == [spent, 0]
    failed = await look(
        lambda: list(Event.objects.filter(kind=EventKind.TURN_FAILED).values_list("payload", flat=True))
    )
    assert [payload["error_code"] for payload in failed] == ([] if spent else ["budget_exhausted"])


async def test_the_choice_of_an_agent_is_within_the_budget(
    worker: Worker, session: Session, settings: Settings
) -> None:
    settings.CODELAB_AGENTS = "multi"
    await look(lambda: Budget.objects.create(owner=session.owner, limit=9))
    await worker.answer(session, "Write a function. tokens=2")
    assert (await look(failure))["error_code"] == "budget_exhausted"
    assert await look(ledger) == []


async def test_a_stopped_worker_reports_what_its_cancelled_call_cost(worker: Worker, session: Session) -> None:
    row = await look(lambda: Budget.objects.create(owner=session.owner, limit=1000))
    running = asyncio.create_task(worker.answer(session, "tokens=500 rate=100"))
    async with asyncio.timeout(60):
        while not await look(Event.objects.filter(kind=EventKind.TEXT_DELTA).exists):  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.05)
    await look(lambda: attempts.cancel(session.pk, None))
    (lease,) = worker.leases.values()
    lease.abandon()
    await running
    ((_, outcome, _, read, said, cost, _),) = await look(ledger)
    assert outcome == ModelCallOutcome.CANCELLED
    assert read > 0
    assert cost == said > 0
    assert await state(row) == [cost, 0]


async def test_a_stop_that_a_write_notices_is_paid_for(worker: Worker, session: Session) -> None:
    """The notice of the stop is lost, and pieces arrive so fast that the step never waits for one."""
    running = asyncio.create_task(worker.answer(session, "tokens=20000 rate=20000"))
    async with asyncio.timeout(60):
        while not await look(Event.objects.filter(kind=EventKind.TEXT_DELTA).exists):  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.05)
    await look(lambda: attempts.cancel(session.pk, None))
    async with asyncio.timeout(60):
        await running
    ((_, outcome, _, _, said, cost, _),) = await look(ledger)
    assert outcome == ModelCallOutcome.CANCELLED
    assert cost == said > 0


async def test_a_stop_that_is_noticed_twice_does_not_interrupt_the_report_of_the_cost(
    worker: Worker, session: Session
) -> None:
    """A write that is refused ends the step, and the notice of the stop arrives while its cost is stored."""
    running = asyncio.create_task(worker.answer(session, "tokens=500 rate=100"))
    async with asyncio.timeout(60):
        while not await look(Event.objects.filter(kind=EventKind.TEXT_DELTA).exists):  # noqa: ASYNC110 (in a database)
            await asyncio.sleep(0.05)
    await look(lambda: attempts.cancel(session.pk, None))
    names = ("host", "port", "user", "password", "dbname")
    parameters = {name: connection.get_connection_params()[name] for name in names}
    async with await psycopg.AsyncConnection.connect(**parameters) as other:
        await other.execute("SELECT FROM agent_sessions_session WHERE id = %s FOR UPDATE", [session.pk])
        await asyncio.sleep(1)
        for lease in worker.leases.values():
            lease.abandon()
    await running
    ((_, outcome, _, _, said, cost, _),) = await look(ledger)
    assert outcome == ModelCallOutcome.CANCELLED
    assert cost == said > 0


async def test_a_turn_fails_at_its_cost_limit(worker: Worker, session: Session, settings: Settings) -> None:
    settings.CODELAB_TURN_DOLLARS = 4.0
    turn_id = await worker.answer(session, "call=read_file")
    call = await look(lambda: ToolCall.objects.get(turn=turn_id))
    await look(lambda: tool_calls.record_tool_result(session.pk, call.call_id, content="x", failed=False))
    await worker.run(turn_id)
    assert (await look(failure))["error_code"] == "too_expensive"
    assert len(await look(ledger)) == 1


async def test_calls_with_the_users_own_key_need_no_budget(
    worker: Worker, session: Session, provider: Provider, settings: Settings
) -> None:
    settings.CODELAB_PRIVATE_MODEL_ADDRESSES = True
    row = await look(lambda: Budget.objects.create(owner=session.owner, limit=0))
    await look(lambda: provider_keys.store(session.owner_id, "openai", "sk-of-alice-1234", provider.url))
    await worker.answer(session, "tokens=2")
    assert await look(ledger) == [(1, "ok", "", 7, 5, 0, True)]
    assert await state(row) == [0, 0]
    await worker.answer(session, "status=401")
    told = await look(failure)
    assert told["error_code"] == "provider_key_refused"
    assert "sk-of" not in str(told)


async def test_embeddings_use_the_users_own_key(
    worker: Worker, alice: User, provider: Provider, settings: Settings
) -> None:
    settings.CODELAB_PRIVATE_MODEL_ADDRESSES = True
    row = await look(lambda: Budget.objects.create(owner=alice, limit=0))
    await look(lambda: provider_keys.store(alice.pk, "openai", "sk-of-alice-1234", provider.url))
    asked = CompletionRequest(model=MODEL, kind=CompletionKind.EMBEDDINGS, messages=["one"])
    await worker.run((await look(lambda: completions.accept(alice.pk, asked))).turn_id)
    assert await look(ledger) == [(1, "ok", "", 9, 0, 0, True)]
    assert await state(row) == [0, 0]


async def test_a_key_for_a_server_of_the_operators_is_within_the_budget(worker: Worker, session: Session) -> None:
    """The server's address is the operator's variable, and nothing says that the key is asked for."""
    row = await look(lambda: Budget.objects.create(owner=session.owner, limit=14))
    await look(lambda: provider_keys.store(session.owner_id, "openai", "x", ""))
    await worker.answer(session, "tokens=2")
    assert await look(ledger) == [(1, "ok", "", 7, 5, 5, False)]
    assert await state(row) == [5, 0]
    await worker.answer(session, "tokens=2")
    assert (await look(failure))["error_code"] == "budget_exhausted"


async def test_a_budget_asks_for_no_more_than_the_window_takes(
    worker: Worker, alice: User, provider: Provider, tmp_path: Path
) -> None:
    await look(lambda: Budget.objects.create(owner=alice, limit=1))
    file = tmp_path / "windows.toml"
    for window, max_output, words, limit in (
        (100_000, 100_000, 2, 25_000),
        (100_000, 8_000, 2, 8_000),
        (20_000, 20_000, 16_000, 1_024),
    ):
        sizes = f"window = {window}\nmax_output = {max_output}"
        file.write_text(f'[models."{MODEL}"]\n{sizes}\nprices = [{{ input = 0, output = 0 }}]\n')
        catalog.use([file])
        text = "tokens=2 " + "word " * words
        asked = CompletionRequest(model=MODEL, messages=[{"role": "user", "content": text}])
        accepted = await look(partial(completions.accept, alice.pk, asked))
        await worker.run(accepted.turn_id)
        assert provider.requests[-1]["max_completion_tokens"] == limit


async def test_a_users_key_is_never_sent_to_a_private_address(
    worker: Worker, session: Session, provider: Provider
) -> None:
    asked = len(provider.requests)
    base = provider.url.replace("http:", "https:")
    await look(lambda: provider_keys.store(session.owner_id, "openai", "sk-of-alice-1234", base))
    await worker.answer(session, "tokens=2")
    assert (await look(failure))["error_code"] == "model_address_refused"
    assert len(provider.requests) == asked
