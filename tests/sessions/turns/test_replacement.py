"""A message that takes the place of the newest one: edit and resend, regenerate, retry."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from llm.types import ModelMessage, ModelToolCall
from sessions.api.websocket.snapshot import snapshot
from sessions.events import log
from sessions.models import Image, Message, Plan, Session, Summary, Turn, TurnStatus, Via
from sessions.protocol.codes import Rejected
from sessions.protocol.workspace import Workspace
from sessions.results import AcceptedMessage, Claim
from sessions.turns import approvals, attempts, images, inbox, summaries, tool_calls
from sessions.turns.current_agent import choose_agent
from sessions.turns.sessions import open_session, set_client_plans
from sessions.turns.workspaces import set_workspace
from sessions.worker import agent_choice
from tests.sessions import story
from tests.sessions.calls import plan_call, read_call, subtask


def say(session: Session, text: str, **options: Any) -> AcceptedMessage:
    return inbox.accept_message(session.pk, text, **options)


def answer(accepted: AcceptedMessage, text: str = "ok") -> AcceptedMessage:
    attempts.complete(story.claim(accepted.turn_id), story.step(text))
    return accepted


def fail(accepted: AcceptedMessage) -> AcceptedMessage:
    attempts.fail(story.claim(accepted.turn_id), code="model_error", text="No.", result=story.step("half"))
    return accepted


def refusal(session: Session, message_id: uuid.UUID, **options: Any) -> str:
    before = log.since(session.pk, 0, limit=10_000)
    with pytest.raises(Rejected) as caught:
        say(session, "other", replaces=message_id, **options)
    assert log.since(session.pk, 0, limit=10_000) == before
    return caught.value.code


def read(accepted: AcceptedMessage) -> list[str]:
    story.claim(accepted.turn_id)
    return [message.content for message in story.history(accepted.turn_id)]


def test_the_newest_message_can_be_edited_and_sent_again(session: Session) -> None:
    answer(say(session, "one"), "first")
    two = answer(say(session, "two"), "second")
    other = say(session, "zwei", replaces=two.message_id)
    assert [event.kind for event in other.events] == ["turn_replaced", "message_added", "turn_queued"]
    assert other.events[0].payload == {"turn_id": str(two.turn_id), "by": str(other.turn_id)}
    assert other.ready == other.turn_id
    state = snapshot(session.pk)
    assert [message["content"] for message in state["messages"]] == ["one", "first", "zwei"]
    assert read(other) == ["one", "first", "zwei"]
    replaced = Turn.objects.get(pk=two.turn_id)
    assert (replaced.status, replaced.replaced_by) == (TurnStatus.COMPLETED, other.turn_id)
    assert Message.objects.filter(turn=two.turn_id).count() == 2, "the record keeps it"


def test_a_replayed_frame_is_bound_to_the_first(session: Session) -> None:
    one = fail(say(session, "one", client_message_id="a"))
    two = say(session, "one", client_message_id="b", replaces=one.message_id)
    again = say(session, "one", client_message_id="b", replaces=one.message_id)
    assert (again.repeated, again.turn_id, again.events) == (True, two.turn_id, [])
    # The message that was replaced is not sent a second time either, when its acknowledgement was lost.
    assert say(session, "one", client_message_id="a").repeated
    assert refusal(session, one.message_id) == "not_replaceable"


def test_only_the_newest_ended_turn_can_be_replaced(session: Session, bob: User) -> None:
    one, two = answer(say(session, "one")), answer(say(session, "two"))
    assert refusal(session, one.message_id) == "not_replaceable"
    reply = session.messages.filter(role="assistant").latest("number")
    assert refusal(session, reply.pk) == "message_not_found"
    assert refusal(open_session(bob.pk, "his"), two.message_id) == "message_not_found"
    three = say(session, "three")
    assert refusal(session, two.message_id) == refusal(session, three.message_id) == "not_replaceable"
    inbox.withdraw_message(session.pk, three.message_id)
    assert refusal(session, three.message_id) == "not_replaceable"
    assert answer(say(session, "zwei", replaces=two.message_id)).turn_id


def test_an_interrupt_stops_the_turn_that_it_replaces(session: Session) -> None:
    one = say(session, "one")
    story.claim(one.turn_id)
    two = say(session, "two", replaces=one.message_id, interrupt=True)
    assert [event.kind for event in two.events][:2] == ["turn_cancelled", "turn_replaced"]
    assert read(two) == ["two"]


def test_what_was_steered_into_the_turn_goes_with_it_and_is_retried_with_it(session: Session) -> None:
    one = say(session, "one")
    claim = story.claim(one.turn_id)
    steered = say(session, "and this", steer=True)
    tool_calls.request_tools(claim, story.step(), [read_call("a")])
    tool_calls.record_tool_result(session.pk, "a", content="r", failed=False)
    attempts.fail(story.claim(one.turn_id), code="model_error", text="No.")
    assert refusal(session, steered.message_id) == "not_replaceable"
    retried = inbox.retry_turn(one.turn_id)
    assert read(retried) == ["one\n\nand this"]
    with pytest.raises(Rejected, match="already"):
        inbox.retry_turn(one.turn_id)


def test_a_retry_has_the_images_and_the_key_of_its_turn(session: Session) -> None:
    key = uuid.uuid4()
    image = images.store(session.pk, b"GIF87a" + b"x")
    one = fail(say(session, "look", images=[image.pk], api_key=key))
    retried = inbox.retry_turn(one.turn_id)
    message = Message.objects.get(pk=retried.message_id)
    assert [each["image_id"] for each in message.images or []] == [str(image.pk)]
    assert Turn.objects.get(pk=retried.turn_id).api_key == key
    assert Image.objects.filter(is_shown=True).exists()


def test_a_plan_of_the_turn_ends_with_it(session: Session) -> None:
    set_client_plans(session.pk, True)
    choose_agent(session.pk, "architect")
    held = story.request(session, plan_call("p", subtask("a", agent="coder")))
    approvals.decide(session.pk, "p", approvals.Decision(approve=True, by=session.owner_id, via=Via.REST))
    attempts.fail(story.claim(held.turn_id), code="model_error", text="No.")
    assert Plan.objects.get().status == "in_progress"
    begun = session.messages.filter(role="user").earliest("number")
    other = say(session, "Something else.", replaces=begun.pk)
    assert Plan.objects.get().status == "cancelled"
    assert [event.kind for event in other.events][-3:] == ["turn_replaced", "message_added", "turn_queued"]
    assert snapshot(session.pk)["plan"] is None
    assert read(other) == ["Something else."]


def test_a_summary_of_the_replaced_messages_does_not_count(session: Session) -> None:
    one = answer(say(session, "one"))
    held = story.begin(session, "two")
    message = Message.objects.get(content="two")
    old = _summarize(held, Message.objects.get(pk=one.message_id), "before")
    _summarize(held, message, "with two")
    attempts.fail(held, code="model_error", text="No.")
    assert snapshot(session.pk)["summary"]["text"] == "with two"
    other = say(session, "zwei", replaces=message.pk)
    assert other.events[0].payload["summary"]["text"] == "before"
    assert snapshot(session.pk)["summary"]["text"] == "before"
    assert list(Summary.objects.values_list("pk", flat=True)) == [old.pk]


def _summarize(claim: Claim, last: Message, text: str) -> Summary:
    overflow = summaries.Overflow(
        messages=(ModelMessage(role="user", content=last.content),),
        earlier=None,
        subtask_id=None,
        until=last.pk,
        until_place=(last.turn.position, last.number, last.number),
        kept=(),
    )
    summaries.add(claim, overflow, text, ())
    return Summary.objects.get(pk=overflow.summary_id)


def test_the_model_is_told_again_of_the_workspace(session: Session) -> None:
    set_workspace(session.pk, Workspace.model_validate({"name": "shop", "git": {"branch": "main"}}))
    one = fail(say(session, "one"))
    told = Message.objects.get(pk=one.message_id).surroundings
    assert "main" in told
    other = say(session, "one", replaces=one.message_id)
    story.claim(other.turn_id)
    assert Message.objects.get(pk=other.message_id).surroundings == told


def test_an_answer_to_a_question_of_a_replaced_turn_is_routed(session: Session) -> None:
    held = story.begin(session)
    tool_calls.request_tools(
        held, story.step(), [ModelToolCall(id="q", name="ask_followup_question", arguments={"question": "What?"})]
    )
    one = session.messages.filter(role="user").earliest("number")
    other = say(session, "Fix the tests.", replaces=one.pk)
    story.claim(other.turn_id)
    assert not agent_choice.read_question(other.turn_id).is_answer
