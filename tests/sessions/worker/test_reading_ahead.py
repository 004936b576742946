"""The prompt that is read together with the claim is the one that the step would read, or none."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from agents.roles import UNASSIGNED
from sessions.models import Message, Session
from sessions.turns import inbox, tool_calls
from sessions.turns.sessions import open_session
from sessions.worker import model_access, prompt
from sessions.worker.query import claim_and_read
from tests.sessions import story
from tests.sessions.calls import read_call

pytestmark = pytest.mark.django_db


@pytest.fixture
def session(alice: User) -> Session:
    return open_session(alice.pk, "notes")


def begin(turn_id: Any, model: str = "scripted") -> tuple[Any, prompt.Prompt | None]:
    begun = claim_and_read(turn_id, worker="w", model=model)
    assert begun
    claim, change, ahead = begun
    assert [event.kind for event in change.events] == ["turn_started"]
    return claim, ahead


def test_the_prompt_is_what_the_step_would_read(session: Session) -> None:
    turn_id = inbox.accept_message(session.pk, "Read a.txt, please.").turn_id
    claim, ahead = begin(turn_id)
    window = model_access.window(claim, "scripted")
    assert ahead == prompt.build(turn_id, claim.agent, window)
    tool_calls.request_tools(claim, story.step(), [read_call("a")])
    inbox.accept_message(session.pk, "And b.txt.", steer=True)
    tool_calls.record_tool_result(session.pk, "a", content="the file", failed=False)
    claim, ahead = begin(turn_id)
    assert ahead == prompt.build(turn_id, claim.agent, window)
    assert ahead.messages[-1].content == "And b.txt."


def test_an_agent_that_may_change_is_read_nothing(session: Session, settings: Any) -> None:
    settings.CODELAB_AGENTS = "multi"
    Session.objects.filter(pk=session.pk).update(current_agent=UNASSIGNED)
    _, ahead = begin(inbox.accept_message(session.pk, "Hello").turn_id)
    assert ahead is None


def test_a_turn_is_claimed_although_its_prompt_is_too_long(session: Session) -> None:
    turn_id = inbox.accept_message(session.pk, "Hello").turn_id
    Message.objects.filter(turn=turn_id).update(content="word " * 1_000_000)
    claim, ahead = begin(turn_id, "openai/gpt-4o")
    assert (claim.turn_id, ahead) == (turn_id, None)
