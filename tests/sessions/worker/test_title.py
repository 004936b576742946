"""A model writes the title of a session, once, beside its turns: a worker against a provider over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from agents.loop import TurnUsage
from llm import catalog, remembered
from sessions.models import Budget, Event, EventKind, ModelCall, Session, Turn
from sessions.results import Claim
from sessions.turns import titles
from sessions.turns.sessions import change_session
from sessions.worker import title
from tests.llm.recorded import Play, Recorded, ending, recorded, text
from tests.sessions.worker.test_summary import CATALOG
from tests.sessions.worker.worker import MODEL, Worker, look, worker_of

pytestmark = pytest.mark.django_db(transaction=True)


def is_question(body: dict[str, Any]) -> bool:
    return str(body["messages"][0]["content"]).startswith("Write a title")


class Titler:
    """A provider that answers all questions, and says the title that it is told."""

    def __init__(self, provider: Recorded) -> None:
        self.provider = provider
        self.play = Play([*text('"Mend the **cart**."'), *ending()])
        provider.play(*text("Yes."), *ending())
        provider.rule = lambda body: self.play if is_question(body) else None

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [post.body for post in self.provider.posts if is_question(post.body)]


@pytest.fixture
async def titler() -> AsyncIterator[Titler]:
    async with recorded() as it:
        yield Titler(it)


@pytest.fixture
async def worker(
    titler: Titler, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Worker]:
    (tmp_path / "models.toml").write_text(CATALOG)
    catalog.use([tmp_path / "models.toml"])
    settings.CODELAB_MODEL_TRIES, settings.CODELAB_TITLE_MODEL = 1, ""
    async with worker_of(titler.provider.url, settings, monkeypatch) as it:
        yield it
    catalog.use([])
    remembered.forget()


async def answer(worker: Worker, session: Session, words: str = "Please mend my cart.") -> None:
    await worker.answer(session, words)
    await asyncio.gather(*title._tasks)


def calls() -> list[tuple[str, str]]:
    return list(ModelCall.objects.filter(purpose="title").values_list("outcome", "error_code"))


async def test_the_first_answer_leads_to_a_title_once(worker: Worker, session: Session, titler: Titler) -> None:
    await answer(worker, session)
    await look(session.refresh_from_db)
    assert (session.title, session.awaits_title) == ("Mend the cart", False)
    (question,) = titler.questions
    assert "Please mend my cart." in question["messages"][1]["content"]
    assert "Yes." in question["messages"][1]["content"]
    changed = await look(lambda: Event.objects.get(kind=EventKind.SESSION_CHANGED))
    assert changed.payload == {"title": "Mend the cart", "mode": "ask"}
    call = await look(lambda: ModelCall.objects.get(purpose="title"))
    assert (call.outcome, call.session_id, call.owner_id) == ("ok", session.pk, session.owner_id)
    assert call.cost
    await answer(worker, session, "And more.")
    assert len(titler.questions) == 1


async def test_a_title_of_the_user_stays(worker: Worker, session: Session, titler: Titler) -> None:
    await look(partial(change_session, session.pk, title="Mine"))
    await answer(worker, session)
    assert titler.questions == []
    assert (await look(lambda: Session.objects.get(pk=session.pk))).title == "Mine"


async def test_a_title_that_the_user_writes_meanwhile_stays_and_the_call_is_counted(
    worker: Worker, session: Session, titler: Titler, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = titles.store

    def store_late(*arguments: Any, **options: Any) -> Any:
        change_session(session.pk, title="Mine")
        return store(*arguments, **options)

    monkeypatch.setattr(titles, "store", store_late)
    await answer(worker, session)
    assert (await look(lambda: Session.objects.get(pk=session.pk))).title == "Mine"
    assert await look(calls) == [("ok", "")]


async def test_a_failure_costs_the_turn_nothing_and_is_not_tried_again(
    worker: Worker, session: Session, titler: Titler
) -> None:
    titler.play = Play([b'{"error": {"message": "no"}}'], 400)
    await answer(worker, session)
    titler.play = Play([*text(' "" '), *ending()])
    await answer(worker, session)
    assert (await look(lambda: Session.objects.get(pk=session.pk))).title == "Please mend my cart."
    assert await look(calls) == [("failed", "model_refused")]
    assert await look(lambda: Turn.objects.exclude(status="completed").count()) == 0


async def test_titles_can_be_switched_off_or_given_to_another_model(
    worker: Worker, session: Session, titler: Titler, settings: Settings
) -> None:
    settings.CODELAB_TITLE_MODEL = "off"
    await answer(worker, session)
    assert titler.questions == []
    settings.CODELAB_TITLE_MODEL = "openai/other"
    await answer(worker, session, "More.")
    assert [question["model"] for question in titler.questions] == ["other"]


async def test_budgets_pay_for_a_title_and_are_never_overspent(
    worker: Worker, session: Session, titler: Titler, alice: User
) -> None:
    budget = await look(lambda: Budget.objects.create(owner=alice, limit=10))
    await answer(worker, session)
    await look(budget.refresh_from_db)
    costs = await look(lambda: list(ModelCall.objects.values_list("cost", flat=True)))
    assert len(costs) == 2
    assert budget.reserved == 0
    assert budget.spent == sum(cost or 0 for cost in costs)
    left = await look(lambda: Session.objects.create(owner=alice, key="poor", current_agent="universal"))
    # Enough for a short answer, as its reservation says, and not for a title after it.
    await look(lambda: Budget.objects.filter(pk=budget.pk).update(limit=budget.spent))
    await look(lambda: Session.objects.filter(pk=left.pk).update(awaits_title=True))
    claim = Claim(
        session_id=left.pk, turn_id=left.pk, attempt=1, owner_id=alice.pk, agent="universal", spent=TurnUsage(),
        is_first_step=True, is_repeat=False, awaits_title=True, budgets=(budget.pk,),
    )  # fmt: skip
    await title._write(claim, MODEL, worker.writer)
    assert len(titler.questions) == 1
