"""Who answers a message, where an orchestrator chooses."""

from __future__ import annotations

import asyncio

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from llm.types import ToolCall as ModelToolCall
from sessions import lifecycle, queue, reception, toolcalls
from sessions.changes import Claimed, StaleAttempt, Step
from sessions.models import Session, new_id


@pytest.fixture(autouse=True)
def _several_agents(settings: Settings) -> None:
    settings.CODELAB_AGENTS = "multi"


@pytest.fixture
def session(alice: User) -> Session:
    return lifecycle.open_session(alice.pk, "reception")


def begin(session: Session, text: str, agent: str | None = None) -> Claimed:
    held = lifecycle.claim(queue.accept_message(session.pk, text, agent=agent).turn_id, worker="w", model="m")
    assert held is not None
    return held


def chosen(held: Claimed) -> str:
    """Choose as a worker does, and end the turn."""
    route = asyncio.run(reception.choose(reception.question(held.turn_id)))
    if route:
        held, change = reception.assign(held, route)
        assert [event.kind for event in change.events] == ["agent_switched"]
        assert change.events[0].payload["from_agent"] != route.agent
    lifecycle.complete(held, Step(message_id=new_id(), text="ok"))
    return held.agent


def test_a_task_goes_to_the_agent_it_is_for_and_stays_there_until_another_comes(session: Session) -> None:
    assert chosen(begin(session, "Напиши функцию, которая складывает числа")) == "coder"
    assert chosen(begin(session, "and one that multiplies, please")) == "coder"
    assert chosen(begin(session, "Explain how the event loop works")) == "ask"


def test_a_greeting_is_answered_without_an_agent(session: Session) -> None:
    asked = reception.question(begin(session, "Привет!").turn_id)
    assert reception.own_reply(asked)
    assert asked.current == "orchestrator"


def test_the_choice_of_the_user_stays_until_the_orchestrator_is_chosen(session: Session) -> None:
    assert chosen(begin(session, "Explain it", agent="debug")) == "debug"
    assert chosen(begin(session, "Write a function that adds numbers")) == "debug"
    queue.choose_agent(session.pk, "orchestrator")
    assert chosen(begin(session, "Write a function that adds numbers")) == "coder"


def test_an_answer_to_a_question_stays_with_the_agent_that_asked(session: Session) -> None:
    held = begin(session, "Write a function")
    route = asyncio.run(reception.choose(reception.question(held.turn_id)))
    assert route
    held, _ = reception.assign(held, route)
    question = ModelToolCall(id="q", name="ask_followup_question", arguments={"question": "Which language?"})
    toolcalls.request_tools(held, Step(message_id=new_id(), text=""), [question])
    assert chosen(begin(session, "Explain it to me in Python")) == "coder"


def test_an_attempt_that_lost_its_turn_chooses_nobody(session: Session) -> None:
    held = begin(session, "Write a function")
    route = asyncio.run(reception.choose(reception.question(held.turn_id)))
    assert route
    lifecycle.cancel(session.pk, None)
    with pytest.raises(StaleAttempt):
        reception.assign(held, route)
    session.refresh_from_db()
    assert session.current_agent == "orchestrator"
