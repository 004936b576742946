"""A step that knows the conversation of its turn is told the same as one that reads all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

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
from tests.live.provider import Provider
from tests.sessions import story
from tests.sessions.calls import plan_call, read_call, subtask, write_call
from tests.sessions.worker.worker import Worker, look, worker_of

pytestmark = pytest.mark.django_db

WINDOW = Window(tokens=100_000)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
THOUGHT = {"reasoning_content": "a thought"}


@pytest.fixture(autouse=True)
def _kept_at_any_length(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(histories, "MIN_MESSAGES", 1)
    yield
    for turn_id in list(histories._kept):
        histories.forget(turn_id)
    assert histories._tokens == 0


def read(claim: Claim) -> list[str]:
    """Return the conversation as the step's worker reads it, and require that another worker reads the same."""
    turn = prompt.claimed_turn(claim.turn_id)
    built = prompt.build_for(turn, "coder", WINDOW)
    kept = histories._kept.get(turn.pk)
    histories.forget(turn.pk)
    assert prompt.build_for(turn, "coder", WINDOW) == built
    histories.forget(turn.pk)
    if kept:
        histories.keep(turn.pk, *kept)
    return [message.content for message in built.messages[1:]]


def knows(claim: Claim) -> bool:
    return claim.turn_id in histories._kept


def step(session: Session, claim: Claim, *calls: ModelToolCall, result: str = "text") -> Claim:
    """Take a step that calls tools, and claim the turn again behind their results."""
    tool_calls.request_tools(claim, replace(story.step(), extra=THOUGHT), calls)
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
    kept = histories._kept[claim.turn_id]
    claim = step(session, story.claim(claim.turn_id), read_call("b"))
    histories.keep(claim.turn_id, *kept)
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
    (entries,) = (entries for _, entries in histories._kept.values())
    monkeypatch.setattr(histories, "MAX_TOKENS", 2 * histories._size(entries))
    others = [new_id() for _ in range(3)]
    for turn_id in others:
        histories.keep(turn_id, None, entries)
    assert list(histories._kept) == others[1:]
    histories.keep(others[0], None, [*entries] * 3)
    assert not histories._kept, "larger than all that may be kept"


def test_a_short_conversation_is_not_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MIN_MESSAGES", 2)
    claim = story.begin(session)
    read(claim)
    assert not knows(claim)


@pytest.fixture
async def worker(provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    async with worker_of(provider.url, settings, monkeypatch) as it:
        yield it


@pytest.mark.django_db(transaction=True)
async def test_a_turn_that_ends_leaves_nothing_behind(worker: Worker, session: Session) -> None:
    await worker.answer(session, "Hello. tokens=1")
    assert not histories._kept
    accepted = await look(lambda: inbox.accept_message(session.pk, "Read it. call=read_file"))
    await worker.run(accepted.turn_id)
    assert list(histories._kept) == [accepted.turn_id], "the turn waits for the result"
