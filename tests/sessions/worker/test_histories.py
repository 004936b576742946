"""A step that knows the conversation of its turn is told the same as one that reads all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from agents.context import Window
from llm.types import ModelToolCall
from sessions.models import Message, Session, Summary, Turn, Via, new_id
from sessions.results import Claim
from sessions.turns import approvals, attempts, inbox, recovery, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.current_agent import choose_agent
from sessions.turns.images import store as store_image
from sessions.turns.sessions import set_client_plans
from sessions.worker import histories, prompt
from sessions.worker.conversation import EDITED, read_entries
from tests.sessions import story
from tests.sessions.calls import plan_call, read_call, subtask, write_call

pytestmark = pytest.mark.django_db

WINDOW = Window(tokens=100_000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
THOUGHT = {"reasoning_content": "a thought"}


@pytest.fixture(autouse=True)
def _kept_at_any_length(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(histories, "MIN_MESSAGES", 1)
    yield
    histories.forget()
    assert histories._tokens == 0


def read(claim: Claim) -> list[str]:
    """Return the conversation as the step's worker reads it, and require that another worker reads the same."""
    turn = prompt.claimed_turn(claim.turn_id)
    built = prompt.build_for(turn, "coder", WINDOW)
    kept = histories._kept.get(turn.session_id)
    histories.forget()
    assert prompt.build_for(turn, "coder", WINDOW) == built
    histories.forget()
    if kept:
        histories.keep(turn.session_id, kept.summary, kept.entries)
    return [message.content for message in built.messages[1:]]


def knows(claim: Claim) -> bool:
    return claim.session_id in histories._kept


def step(session: Session, claim: Claim, *calls: ModelToolCall, result: str = "text") -> Claim:
    """Take a step that calls tools, and claim the turn again behind their results."""
    tool_calls.request_tools(
        claim, replace(story.step("", replace(story.model_call(), origin="openai")), extra=THOUGHT), calls
    )
    for call in calls:
        tool_calls.record_tool_result(session.pk, call.id, content=result, failed=False)
    return story.claim(claim.turn_id)


def test_a_step_reads_only_what_is_new(session: Session) -> None:
    claim = story.begin(session, "Read both.")
    assert read(claim) == ["Read both."]
    # Nothing changes what a step has read. So only a step that reads it again sees this.
    Message.objects.filter(turn=claim.turn_id).update(content="changed")
    claim = step(session, claim, read_call("a"), read_call("b"), result="the file")
    turn = prompt.claimed_turn(claim.turn_id)
    assert [message.content for message in prompt.build_for(turn, "coder", WINDOW).messages[1:]] == [
        *("Read both.", "", "the file", "the file")
    ]


def test_a_turn_reads_only_what_is_new_since_the_last_one(session: Session) -> None:
    claim = story.begin(session, "One.")
    waiting = inbox.accept_message(session.pk, "Two.")
    read(claim)
    Message.objects.filter(turn=claim.turn_id).update(content="changed")
    claim = step(session, claim, read_call("a"))
    attempts.complete(claim, story.step("Done."))
    turn = prompt.claimed_turn(story.claim(waiting.turn_id).turn_id)
    assert [message.content for message in prompt.build_for(turn, "coder", WINDOW).messages[1:]] == [
        *("One.", "", "text", "Done.", "Two.")
    ]


def test_a_provider_gets_back_only_what_it_said_in_the_open_turn(session: Session) -> None:
    claim = step(session, story.begin(session, "One."), read_call("a"))
    read(claim)
    assert "a thought" in str(histories._kept)
    attempts.complete(claim, story.step("Done."))
    read(story.begin(session, "Two."))
    assert "a thought" not in str(histories._kept)


def test_the_messages_of_a_replaced_turn_are_not_known_any_more(session: Session) -> None:
    attempts.complete(story.begin(session, "One."), story.step("Done."))
    first = inbox.accept_message(session.pk, "Two.")
    claim = story.claim(first.turn_id)
    assert read(claim) == ["One.", "Done.", "Two."]
    attempts.complete(claim, story.step("Wrong."))
    assert read(story.begin(session, "Three.", replaces=first.message_id)) == ["One.", "Done.", "Three."]


def test_messages_that_no_step_has_read_come_with_the_next_turn(session: Session) -> None:
    claim = story.begin(session, "One.")
    inbox.accept_message(session.pk, "Waits.")
    steered = inbox.accept_message(session.pk, "By the way.", steer=True)
    assert read(claim) == ["One."]
    attempts.complete(claim, story.step("Done."))
    turn_id = Message.objects.get(pk=steered.message_id).turn_id
    assert read(story.claim(turn_id)) == ["One.", "Done.", "By the way."]


def test_whatever_happens_in_a_turn_a_step_is_told_as_much_as_another_worker(session: Session, alice: User) -> None:
    attempts.complete(story.begin(session, "Earlier."), story.step("Done."))
    claim = story.begin(session, "Now this.")
    waiting = inbox.accept_message(session.pk, "Later.")
    assert read(claim) == ["Earlier.", "Done.", "Now this."]
    inbox.accept_message(session.pk, "By the way.", steer=True)
    claim = step(session, claim, read_call("a"))
    assert read(claim)[2:] == ["Now this.", "", "text", "By the way."]
    # A message that waits may change. No step has read it.
    one = inbox.accept_message(session.pk, "one", steer=True)
    inbox.accept_message(session.pk, "two", steer=True)
    inbox.edit_message(session.pk, one.message_id, "eins")
    inbox.edit_message(session.pk, waiting.message_id, "Much later.")
    inbox.accept_message(session.pk, "First of all.", interrupt=False)
    # Users decide about a call, and change it, before the next step.
    tool_calls.request_tools(claim, story.step(), [write_call("w"), read_call("b")])
    edited = {"path": "b.txt", "content": "y"}
    approvals.decide(session.pk, "w", Decision(approve=True, by=alice.pk, via=Via.REST, arguments=edited))
    for call in ("b", "w"):
        tool_calls.record_tool_result(session.pk, call, content=call, failed=False)
    claim = story.claim(claim.turn_id)
    assert read(claim)[5:] == ["By the way.", "", "b", f"w{EDITED}", "eins", "two"]


def test_a_step_that_a_lost_worker_began_is_told_the_same(session: Session) -> None:
    claim = step(session, story.begin(session), read_call("a"))
    assert len(read(claim)) == 3
    Turn.objects.filter(pk=claim.turn_id).update(lease_expires_at=timezone.now() - attempts.LEASE_DURATION)
    recovery.recover(claim.turn_id)
    # The other worker takes a step, and this one the next.
    claim = step(session, story.claim(claim.turn_id), read_call("b"))
    assert len(read(claim)) == 5


def test_everything_is_read_when_the_last_known_message_is_gone(session: Session) -> None:
    """A standby that takes over may lack the newest transactions, and gives their numbers to others."""
    claim = step(session, story.begin(session), read_call("a"), result="the first")
    assert read(claim)[-1] == "the first"
    last = Message.objects.filter(turn=claim.turn_id).order_by("number").last()
    assert last
    Message.objects.filter(pk=last.pk).update(id=new_id(), content="the other")
    assert read(claim)[-1] == "the other"


def test_a_summary_begins_a_new_conversation(session: Session) -> None:
    claim = step(session, story.begin(session, "Long ago."), read_call("a"))
    assert read(claim)[0] == "Long ago."
    first, *_ = read_entries(prompt.claimed_turn(claim.turn_id), None, "", None)
    assert first.id
    Summary.objects.create(
        session=session,
        turn_id=claim.turn_id,
        text="It began.",
        messages=1,
        until=first.id,
        until_place=[first.position, first.order, first.number],
        kept=[],
        number=1,
    )
    Session.objects.filter(pk=session.pk).update(is_summarized=True)
    assert read(claim) == ["", "text"]


def test_nothing_is_kept_of_plans_and_images(session: Session) -> None:
    image = store_image(session.pk, PNG)
    claim = story.begin(session, images=[image.pk])
    read(claim)
    assert not knows(claim)
    attempts.complete(claim, story.step("Seen."))
    set_client_plans(session.pk, True)
    choose_agent(session.pk, "architect")
    claim = story.begin(session, "Plan it.")
    tool_calls.request_tools(claim, story.step(), [plan_call("p", subtask("a"))])
    decision = Decision(approve=False, by=session.owner_id, via=Via.REST, feedback="no")
    approvals.decide(session.pk, "p", decision)
    claim = story.claim(claim.turn_id)
    read(claim)
    assert not knows(claim)


def test_what_is_kept_has_a_limit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = story.begin(session)
    read(claim)
    (history,) = histories._kept.values()
    monkeypatch.setattr(histories, "MAX_TOKENS", 2 * history.tokens)
    others = [new_id() for _ in range(3)]
    for session_id in others:
        histories.keep(session_id, None, history.entries)
    assert list(histories._kept) == others[1:]
    histories.keep(others[0], None, [*history.entries] * 3)
    assert not histories._kept, "larger than all that may be kept"


def test_a_session_that_rests_is_dropped(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = story.begin(session)
    read(claim)
    assert knows(claim)
    monkeypatch.setattr(histories, "MAX_IDLE_SECONDS", -1)
    histories.keep(new_id(), None, ())
    assert not knows(claim)


def test_a_short_conversation_is_not_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MIN_MESSAGES", 2)
    claim = story.begin(session)
    read(claim)
    assert not knows(claim)
