"""A turn whose provider asks for a wait goes on by itself, and holds nothing until then."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from prometheus_client import REGISTRY
from pytest_django import Settings

from sessions.api.websocket.snapshot import snapshot
from sessions.metrics import OpenTurns
from sessions.models import Event, EventKind, Message, ModelCall, Session, Turn, TurnStatus, new_id
from sessions.results import Change
from sessions.turns import attempts, inbox, recovery
from sessions.worker.lookout import Lookout
from tests.llm.recorded import Recorded, ending, event, recorded, text
from tests.sessions import story
from tests.sessions.worker.worker import Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)

#: A rate limit in the middle of a stream.
LIMITED = event({}, error={"message": "Rate limit reached. Please try again in 2s.", "code": "rate_limit_exceeded"})


@pytest.fixture
async def provider() -> AsyncIterator[Recorded]:
    async with recorded() as it:
        yield it


@pytest.fixture
async def worker(provider: Recorded, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    async with worker_of(provider.url, settings, monkeypatch) as it:
        yield it


def payloads(kind: EventKind) -> list[dict[str, Any]]:
    return list(Event.objects.filter(kind=kind).order_by("number").values_list("payload", flat=True))


def status(turn_id: uuid.UUID) -> str:
    return Turn.objects.get(pk=turn_id).status


def gauge(name: str) -> float:
    return next(each.samples[0].value for each in OpenTurns().collect() if each.name == name)


def end_wait() -> None:
    """Let the waits of all turns be over."""
    past = timezone.now() - timedelta(seconds=1)
    Turn.objects.filter(retry_at__isnull=False).update(retry_at=past, queued_at=past)


@pytest.mark.parametrize("http_status", [429, 503])
async def test_a_turn_that_meets_a_rate_limit_goes_on_by_itself(
    worker: Worker, session: Session, provider: Recorded, http_status: int
) -> None:
    provider.refuse(http_status, retry_after="1").play(*text("here"), *ending())
    turn_id = await worker.answer(session, "hi")
    turn = await look(lambda: Turn.objects.get(pk=turn_id))
    assert (turn.status, turn.lease_expires_at, worker.leases) == (TurnStatus.QUEUED, None, {})
    (scheduled,) = await look(lambda: payloads(EventKind.RETRY_SCHEDULED))
    code = "model_rate_limited" if http_status == 429 else "model_unavailable"
    assert scheduled | {"retry_at": ""} == {
        "turn_id": str(turn_id), "error_code": code, "retry_after": 1, "retry_at": ""
    }  # fmt: skip
    assert abs(datetime.fromisoformat(scheduled["retry_at"]) - datetime.now(UTC)) < timedelta(seconds=1.5)
    (waiting,) = (await look(lambda: snapshot(session.pk)))["turns"]
    assert waiting == {"status": "queued", "attempt": 1} | scheduled

    changes: list[Change] = []
    lookout = Lookout("w", capacity=lambda: 1, take=changes.append)
    started = asyncio.get_running_loop().time()
    while not changes and asyncio.get_running_loop().time() < started + 5:
        await lookout.look()
        await asyncio.sleep(0.05)
    assert 0.5 < asyncio.get_running_loop().time() - started < 2
    await worker.run(turn_id)
    assert await look(lambda: Message.objects.get(turn=turn_id, role="assistant").content) == "here"
    (state,) = await look(lambda: list(Turn.objects.filter(pk=turn_id).values_list("status", "retry_at", "attempt")))
    assert state == (TurnStatus.COMPLETED, None, 2)
    outcomes = await look(lambda: list(ModelCall.objects.order_by("pk").values_list("outcome", "error_code")))
    assert outcomes == [("failed", code), ("ok", "")]
    assert REGISTRY.get_sample_value("retries_scheduled_total", {"error_code": code})


async def test_no_task_takes_a_turn_before_its_time(worker: Worker, session: Session, provider: Recorded) -> None:
    provider.refuse(429, retry_after="60").play(*text("here"), *ending())
    turn_id = await worker.answer(session, "hi")
    later = await worker.answer(session, "and then?")
    await worker.run(turn_id)
    assert len(provider.posts) == 1
    assert await look(lambda: recovery.unclaimed_turns(5)) == []
    assert await look(lambda: gauge("turns_put_off")) == 1
    assert await look(lambda: gauge("oldest_queued_turn_seconds")) < 30
    await look(end_wait)
    assert await look(lambda: recovery.unclaimed_turns(5)) == [turn_id]
    await worker.run(turn_id)
    await worker.run(later)
    assert [await look(partial(status, each)) for each in (turn_id, later)] == ["completed"] * 2


@pytest.mark.parametrize("limit_and_waits", [(0, 0), (1, 0), (4, 2)])
async def test_the_waits_of_a_turn_are_limited_together(
    worker: Worker, session: Session, provider: Recorded, settings: Settings, limit_and_waits: tuple[int, int]
) -> None:
    limit, waits = limit_and_waits
    settings.CODELAB_RATE_LIMIT_WAIT, settings.CODELAB_MODEL_TRIES = limit, 1
    provider.refuse(429, retry_after="2")
    turn_id = await worker.answer(session, "hi")
    for _ in range(5):
        await look(end_wait)
        await worker.run(turn_id)
    assert len(await look(lambda: payloads(EventKind.RETRY_SCHEDULED))) == waits
    (failed,) = await look(lambda: payloads(EventKind.TURN_FAILED))
    assert (failed["error_code"], failed["retry_after"]) == ("model_rate_limited", 2)


async def test_a_provider_that_names_no_time_gets_no_turn_back(
    worker: Worker, session: Session, provider: Recorded
) -> None:
    provider.refuse(429)
    await worker.answer(session, "hi")
    assert await look(lambda: payloads(EventKind.RETRY_SCHEDULED)) == []
    assert len(await look(lambda: payloads(EventKind.TURN_FAILED))) == 1


async def test_a_turn_that_was_put_off_can_be_stopped_and_interrupted(
    worker: Worker, session: Session, provider: Recorded
) -> None:
    provider.refuse(429, retry_after="60").refuse(429, retry_after="60").play(*text("here"), *ending())
    first = await worker.answer(session, "one")
    await look(lambda: attempts.cancel(session.pk, None))
    second = await worker.answer(session, "two")
    accepted = await look(lambda: inbox.accept_message(session.pk, "three", interrupt=True))
    assert accepted.ready is not None
    await worker.run(accepted.ready)
    statuses = await look(lambda: dict(Turn.objects.values_list("pk", "status")))
    assert statuses == {first: "cancelled", second: "cancelled", accepted.turn_id: "completed"}


async def test_an_answer_that_was_cut_is_kept_and_not_asked_for_again(
    worker: Worker, session: Session, provider: Recorded
) -> None:
    provider.play(*text("half "), LIMITED)
    turn_id = await worker.answer(session, "hi")
    assert await look(partial(status, turn_id)) == "failed"
    kept = await look(lambda: Message.objects.get(turn=turn_id, role="assistant"))
    assert (kept.content, kept.interrupted, len(provider.posts)) == ("half ", True, 1)


async def test_text_of_a_lost_worker_is_repeated_once_after_a_wait(
    worker: Worker, session: Session, provider: Recorded
) -> None:
    """Clients without `codelab.v2` still show it, although the attempt in between has shown nothing."""
    provider.refuse(429, retry_after="2").play(*text("half and whole"), *ending()).play(*text("next"), *ending())

    def lose_worker() -> tuple[uuid.UUID, uuid.UUID]:
        claim, message_id = story.begin(session), new_id()
        story.stream(claim, message_id, "half ")
        attempts.release(claim)
        return claim.turn_id, message_id

    turn_id, message_id = await look(lose_worker)
    for _ in range(2):
        await worker.run(turn_id)
        await look(end_wait)
    replaced = [each["replaces"] for each in await look(lambda: payloads(EventKind.TURN_STARTED))]
    assert replaced == [[], [str(message_id)], []]
    await worker.answer(session, "go on")
    texts = [(each["text"], "again" in each) for each in await look(lambda: payloads(EventKind.TEXT_DELTA))]
    assert texts == [("half ", False), ("half and whole", True), ("next", False)]


async def test_a_caller_of_the_openai_compatible_api_is_told_at_once(
    worker: Worker, alice: User, provider: Recorded
) -> None:
    provider.refuse(429, retry_after="60")
    for agent in ("", "coder"):
        turn_id = await worker.complete(alice, "hi", agent=agent)
        assert await look(partial(status, turn_id)) == "failed"
    assert [each["retry_after"] for each in await look(lambda: payloads(EventKind.TURN_FAILED))] == [60, 60]
