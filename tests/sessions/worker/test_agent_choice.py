"""Who answers a message, where an orchestrator chooses."""

from __future__ import annotations

import asyncio

import pytest
from pytest_django import Settings

from agents import routing
from agents.context import Window
from llm import calls as model_calls
from llm.types import ModelToolCall
from sessions.errors import StaleAttempt
from sessions.models import ModelCall, ModelCallPurpose, Session, new_id
from sessions.results import AgentChoice, Claim, StepResult
from sessions.turns import attempts, tool_calls
from sessions.turns.current_agent import choose_agent
from sessions.turns.deletion import delete_session
from sessions.worker import agent_choice, prompt
from tests.live.provider import Provider
from tests.sessions import story
from tests.sessions.story import begin


@pytest.fixture(autouse=True)
def _several_agents(settings: Settings) -> None:
    settings.CODELAB_AGENTS = "multi"


async def choice_of(asked: agent_choice.Question, held: Claim) -> AgentChoice:
    try:
        return await agent_choice.choose(asked, held, id)
    finally:
        # Connections to providers belong to the loop.
        await model_calls.close()


def decided(held: Claim) -> AgentChoice | None:
    """Return the choice of another agent, if there is one to make."""
    asked = agent_choice.read_question(held.turn_id)
    choice = asyncio.run(choice_of(asked, held)) if agent_choice.needs_choice(asked) else None
    return choice if choice and choice.route else None


def chosen(held: Claim) -> str:
    """Choose as a worker does, and end the turn."""
    if choice := decided(held):
        held, change = attempts.assign_agent(held, choice)
        assert [event.kind for event in change.events] == ["agent_switched"]
        assert change.events[0].payload["from_agent"] != held.agent
    attempts.complete(held, StepResult(message_id=new_id(), text="ok"))
    return held.agent


def test_the_scripted_model_chooses_only_for_the_orchestrator(session: Session, settings: Settings) -> None:
    settings.CODELAB_AGENTS = "auto"
    assert chosen(begin(session, "/tour edit")) == "universal"
    assert chosen(begin(session, "/tour edit", agent="orchestrator")) == "coder"
    settings.CODELAB_AGENTS = "single"
    assert chosen(begin(session, "/tour edit", agent="orchestrator")) == "orchestrator"


def test_a_task_gets_its_agent_which_stays_until_another_kind_of_task(session: Session) -> None:
    assert chosen(begin(session, "Напиши функцию, которая складывает числа")) == "coder"
    assert chosen(begin(session, "and one that multiplies, please")) == "coder"
    assert chosen(begin(session, "Explain how the event loop works")) == "ask"


def test_a_greeting_is_answered_without_an_agent(session: Session) -> None:
    asked = agent_choice.read_question(begin(session, "Привет!").turn_id)
    assert agent_choice.own_reply(asked)
    assert asked.current == "orchestrator"


def test_the_users_choice_stays_until_the_user_chooses_the_orchestrator(session: Session) -> None:
    assert chosen(begin(session, "Explain it", agent="debug")) == "debug"
    assert chosen(begin(session, "Write a function that adds numbers")) == "debug"
    choose_agent(session.pk, "orchestrator")
    assert chosen(begin(session, "Write a function that adds numbers")) == "coder"


def test_an_answer_to_a_question_stays_with_the_agent_that_asked(session: Session) -> None:
    held = begin(session, "Write a function")
    choice = decided(held)
    assert choice
    held, _ = attempts.assign_agent(held, choice)
    question = ModelToolCall(id="q", name="ask_followup_question", arguments={"question": "Which language?"})
    tool_calls.request_tools(held, StepResult(message_id=new_id(), text=""), [question])
    assert chosen(begin(session, "Explain it to me in Python")) == "coder"


def test_an_attempt_that_lost_its_turn_assigns_no_agent(session: Session) -> None:
    held = begin(session, "Write a function")
    choice = decided(held)
    assert choice
    attempts.cancel(session.pk, None)
    with pytest.raises(StaleAttempt):
        attempts.assign_agent(held, choice)
    session.refresh_from_db()
    assert session.current_agent == "orchestrator"


def calls() -> list[tuple[str, str, str, str, int]]:
    rows = ModelCall.objects.order_by("pk").values_list("purpose", "agent", "outcome", "error_code", "output_tokens")
    return list(rows)


@pytest.fixture
def provided_model(settings: Settings, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", provider.url)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(routing, "CHOICE_TIMEOUT_SECONDS", 2.0)
    settings.CODELAB_MODEL = "openai/fake"
    model_calls.preload(settings.CODELAB_MODEL)


# Real transactions, because nothing is held open while a model is asked.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("wish", "end"),
    [
        ("tokens=2", ("ok", "", 5)),
        ("status=429", ("failed", "model_rate_limited", 0)),
        ("silent=30", ("failed", "model_timed_out", 0)),
    ],
)
@pytest.mark.usefixtures("provided_model")
def test_the_ledger_has_the_routing_call(session: Session, wish: str, end: tuple[str, str, int]) -> None:
    held = begin(session, f"Write a function. {wish}")
    choice = decided(held)
    assert choice
    assert choice.route
    # What this model says names no agent: words decide.
    assert choice.route.reason == routing.FALLBACK_REASON
    attempts.assign_agent(held, choice)
    # Its COMMIT got through and only the answer was lost.
    attempts.assign_agent(held, choice)
    assert calls() == [("routing", "orchestrator", *end)]


def test_the_ledger_has_a_routing_call_that_was_stopped(session: Session) -> None:
    begin(session, "Write a function")
    attempts.cancel(session.pk, None)
    assert calls() == [("routing", "orchestrator", "cancelled", "", 0)]


def test_the_ledger_has_the_routing_call_of_a_turn_that_timed_out(session: Session) -> None:
    held = begin(session, "Write a function")
    asked = story.step("", story.model_call(tokens=(0, 0)), purpose=ModelCallPurpose.ROUTING)
    attempts.fail(held, code="turn_timed_out", text="Too long.", result=asked)
    assert calls() == [("routing", "orchestrator", "failed", "turn_timed_out", 0)]


def test_deleting_a_session_makes_its_attempt_stale(session: Session) -> None:
    held = begin(session, "Write a function")
    delete_session(session.pk)
    for look in (
        agent_choice.read_question,
        lambda turn_id: prompt.model_input(turn_id, "coder", Window(tokens=128_000)),
    ):
        with pytest.raises(StaleAttempt):
            look(held.turn_id)
    assert attempts.claim(held.turn_id, worker="w", model="m") is None
