"""What no longer fits a model's window is summarized: a worker against a provider over HTTP."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from llm import catalog, remembered
from sessions.api.websocket.snapshot import snapshot
from sessions.errors import StaleAttempt
from sessions.models import Budget, Event, EventKind, Message, ModelCall, Session, Summary, Turn
from sessions.turns import attempts, deletion, inbox, summaries
from tests.llm.recorded import RESET, Play, Recorded, ending, text
from tests.llm.recorded import recorded as recorded_provider
from tests.sessions.worker.worker import MODEL, Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)

#: A small model, whose input costs a dollar for a million tokens.
CATALOG = f"""
[models."{MODEL}"]
window = 8192
max_output = 1024
prices = [{{ input = 1, output = 1 }}]
"""
LONG = "word " * 900
QUESTION = "Summarize the following"


class Summarizer:
    """A provider that answers all questions, and says how its summaries end."""

    def __init__(self, provider: Recorded) -> None:
        self.provider = provider
        self.play = Play([*text("Alice wants a parser."), *ending()])
        provider.play(*text("Yes."), *ending())
        provider.rule = lambda body: self.play if is_question(body) else None

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [post.body for post in self.provider.posts if is_question(post.body)]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [post.body for post in self.provider.posts if not is_question(post.body)]


def is_question(body: dict[str, Any]) -> bool:
    return str(body["messages"][0]["content"]).startswith(QUESTION)


@pytest.fixture
async def provider() -> AsyncIterator[Recorded]:
    async with recorded_provider() as it:
        yield it


@pytest.fixture
def summarizer(provider: Recorded) -> Summarizer:
    return Summarizer(provider)


@pytest.fixture
async def worker(
    provider: Recorded, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Worker]:
    file = tmp_path / "models.toml"
    file.write_text(CATALOG)
    catalog.use([file])
    settings.CODELAB_MODEL_TRIES = 1
    async with worker_of(provider.url, settings, monkeypatch) as it:
        yield it
    catalog.use([])
    remembered.forget()


async def talk(worker: Worker, session: Session, turns: int, *, first: int = 0) -> None:
    for number in range(first, first + turns):
        await worker.answer(session, f"Request {number}: {LONG}")


def purposes() -> list[tuple[str, str, str]]:
    return list(ModelCall.objects.order_by("pk").values_list("purpose", "outcome", "error_code"))


def added() -> list[dict[str, Any]]:
    events = Event.objects.filter(kind=EventKind.SUMMARY_ADDED).order_by("number")
    return list(events.values_list("payload", flat=True))


def system_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


async def test_what_no_longer_fits_is_summarized_once_and_stands_in_later_requests(
    worker: Worker, session: Session, summarizer: Summarizer
) -> None:
    await talk(worker, session, 2)
    assert await look(added) == []
    assert all("<summary>" not in system_of(body) for body in summarizer.requests)
    while not summarizer.questions:
        await talk(worker, session, 1, first=len(summarizer.requests))
    (question,) = summarizer.questions
    assert "Request 0:" in question["messages"][1]["content"]
    (event,) = await look(added)
    row = await look(lambda: Summary.objects.select_related("turn").get())
    last = await look(lambda: Message.objects.get(pk=row.until))
    assert event == {
        "turn_id": str(row.turn_id),
        "summary_id": str(row.pk),
        "text": "Alice wants a parser.",
        "messages": row.messages,
        "until": str(last.pk),
    }
    assert (await look(lambda: snapshot(session.pk)))["summary"] == event
    assert ("summary", "ok", "") in await look(purposes)

    newest = summarizer.requests[-1]
    assert "<summary>\nAlice wants a parser.\n</summary>" in system_of(newest)
    assert "Request 0:" not in str(newest)
    await worker.answer(session, "Short.")
    assert len(summarizer.questions) == 1
    following = summarizer.requests[-1]
    assert following["messages"][: len(newest["messages"])] == newest["messages"], "the beginning stays"
    left = [str(each["content"])[:10] for each in following["messages"] if each["role"] == "user"]
    of_user = await look(lambda: Message.objects.filter(role="user", turn__position__gt=row.until_place[0]).count())
    assert len(left) == of_user, "all others are there, each once"


async def test_a_second_summary_builds_on_the_first(worker: Worker, session: Session, summarizer: Summarizer) -> None:
    number = 0
    while len(summarizer.questions) < 2:
        await talk(worker, session, 1, first=number)
        number += 1
        summarizer.play = Play([*text(f"Summary {len(summarizer.questions) + 1}."), *ending()])
    first, second = await look(added)
    asked = summarizer.questions[1]["messages"][1]["content"]
    assert f"Summary of what was before: {first['text']}" in asked
    assert "Request 0:" not in asked
    assert second["messages"] > first["messages"]
    newest = system_of(summarizer.requests[-1])
    assert second["text"] in newest
    assert first["text"] not in newest
    assert len(summarizer.questions) < number, "one for each quarter of the window, not for each turn"


async def test_messages_without_an_answer_and_the_newest_one_are_never_summarized(
    worker: Worker, session: Session, summarizer: Summarizer
) -> None:
    await talk(worker, session, 2)
    for words in ("Never use tabs.", "And no globals."):
        turn_id = (await look(partial(inbox.accept_message, session.pk, words))).turn_id
        await look(partial(attempts.cancel, session.pk, turn_id))
    await worker.answer(session, "Request 6: " + LONG * 3)
    assert len(summarizer.questions) == 1
    asked, newest = str(summarizer.questions[0]), str(summarizer.requests[-1]["messages"][1:])
    for words in ("Never use tabs.", "And no globals.", "Request 6:"):
        assert words not in asked
        assert words in newest


FAILURES = {
    "refused": Play([b'{"error": {"message": "no"}}'], 400),
    "down": Play([b""], 503),
    "empty": Play([*text(" "), *ending()]),
    "cut": Play([*text("Alice "), RESET]),
    "too long": Play([*text("word " * 3000), *ending()]),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_without_a_summary_the_turn_goes_on_with_a_note(
    worker: Worker, session: Session, summarizer: Summarizer, name: str
) -> None:
    summarizer.play = FAILURES[name]
    while not summarizer.questions:
        await talk(worker, session, 1, first=len(summarizer.requests))
    assert await look(lambda: Turn.objects.exclude(status="completed").count()) == 0
    assert "Older messages were left out" in system_of(summarizer.requests[-1])
    assert await look(added) == []
    failed = [each for each in await look(purposes) if each[0] == "summary"]
    assert len(failed) == 1
    assert failed[0][1:] not in {("ok", ""), ("failed", "")}


async def test_a_summary_that_failed_is_not_tried_again_in_its_turn(
    worker: Worker, session: Session, summarizer: Summarizer
) -> None:
    summarizer.play = FAILURES["empty"]
    while not summarizer.questions:
        await talk(worker, session, 1, first=len(summarizer.requests))
    turn_id = await look(lambda: ModelCall.objects.get(purpose="summary").turn_id)
    assert turn_id
    assert await look(partial(summaries.has_failed, turn_id))
    summarizer.play = Play([*text("Now."), *ending()])
    await talk(worker, session, 1, first=20)
    assert [each["text"] for each in await look(added)] == ["Now."]


async def test_summaries_can_be_switched_off_or_given_to_another_model(
    worker: Worker, session: Session, summarizer: Summarizer, settings: Settings
) -> None:
    settings.CODELAB_SUMMARY_MODEL = "off"
    await talk(worker, session, 9)
    assert summarizer.questions == []
    settings.CODELAB_SUMMARY_MODEL = "openai/other"
    await talk(worker, session, 1, first=9)
    assert [body["model"] for body in summarizer.questions] == ["other"]
    assert await look(lambda: ModelCall.objects.get(purpose="summary").model) == "openai/other"


async def test_a_window_that_is_learned_leads_to_a_summary(
    worker: Worker, session: Session, summarizer: Summarizer, tmp_path: Path
) -> None:
    (tmp_path / "models.toml").write_text(CATALOG.replace("8192", "100000"))
    catalog.use([tmp_path / "models.toml"])
    await talk(worker, session, 8)
    refused = b'{"error": {"message": "The maximum context length of this model is 8192 tokens."}}'
    provider, answer = summarizer.provider, summarizer.provider.rule
    provider.rule = lambda body: answer(body) or (Play([refused], 400) if len(str(body)) > 35_000 else None)
    await talk(worker, session, 1, first=8)
    assert len(summarizer.questions) == 1
    assert "Alice wants a parser." in system_of(summarizer.requests[-1])
    assert await look(lambda: Turn.objects.exclude(status="completed").count()) == 0
    outcomes = (await look(purposes))[-3:]
    assert sorted(outcomes) == [("step", "failed", "model_context_too_long"), ("step", "ok", ""), ("summary", "ok", "")]


async def test_a_summary_is_paid_by_the_budgets(
    worker: Worker, session: Session, summarizer: Summarizer, alice: User
) -> None:
    budget = await look(lambda: Budget.objects.create(owner=alice, limit=10))
    while not summarizer.questions:
        await talk(worker, session, 1, first=len(summarizer.requests))
    await look(budget.refresh_from_db)
    costs = await look(lambda: list(ModelCall.objects.values_list("cost", flat=True)))
    assert budget.reserved == 0
    assert budget.spent == sum(cost or 0 for cost in costs)
    assert len(costs) == len(summarizer.requests) + 1


async def test_a_worker_that_lost_its_turn_stores_no_summary_and_the_next_one_makes_it_once(
    worker: Worker, session: Session, summarizer: Summarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it was killed between the model's answer and the commit."""

    def die(*_: Any) -> None:
        raise StaleAttempt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(summaries, "add", die)
        while not summarizer.questions:
            await talk(worker, session, 1, first=len(summarizer.requests))
    turn = await look(lambda: Turn.objects.get(status="running"))
    assert await look(added) == []
    await look(lambda: Turn.objects.filter(pk=turn.pk).update(status="queued", lease_expires_at=None))
    await worker.run(turn.pk)
    await look(lambda: Turn.objects.get(pk=turn.pk, status="completed"))
    assert len(await look(added)) == 1
    assert len(summarizer.questions) == 2


async def test_a_deleted_session_leaves_no_summary(worker: Worker, session: Session, summarizer: Summarizer) -> None:
    while not summarizer.questions:
        await talk(worker, session, 1, first=len(summarizer.requests))
    await look(lambda: deletion.delete_session(session.pk))
    await look(lambda: deletion.delete_marked_sessions(math.inf))
    assert await look(Summary.objects.count) == 0
