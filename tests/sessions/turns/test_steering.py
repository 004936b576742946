"""Messages that are sent into an open turn: read once, by its next step, and lost by no end of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from agents.loop import Limits
from llm.types import ModelMessage, ModelToolCall
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import EventKind, Message, Session, Turn, TurnStatus, Via, new_id
from sessions.protocol.codes import Rejected
from sessions.results import AcceptedMessage, Change
from sessions.turns import approvals, attempts, completions, deletion, inbox, recovery, steering, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.current_agent import choose_agent
from sessions.turns.rows import current_subtask
from sessions.turns.sessions import set_client_plans
from sessions.worker import agent_choice, conversation, prompt
from tests.sessions import story
from tests.sessions.calls import plan_call, read_call, subtask, write_call


def steer(session: Session, text: str, **options: Any) -> AcceptedMessage:
    return inbox.accept_message(session.pk, text, steer=True, **options)


def events(session: Session) -> list[LoggedEvent]:
    return list(log.since(session.pk, 0))


def reads(session: Session) -> list[list[str]]:
    """What each step has read, in the order of the steps."""
    return [event.payload["reads"] for event in events(session) if "reads" in event.payload]


def roles(messages: tuple[ModelMessage, ...]) -> list[str]:
    return [f"{message.role} {message.content or [call.id for call in message.tool_calls]}" for message in messages]


def answer_call(session: Session, call_id: str = "a") -> Change:
    return tool_calls.record_tool_result(session.pk, call_id, content="r", failed=False)


def expire(claim: Any) -> Change:
    Turn.objects.filter(pk=claim.turn_id).update(lease_expires_at=timezone.now() - attempts.LEASE_DURATION)
    return recovery.recover(claim.turn_id)


def test_a_steered_message_waits_for_the_next_step_of_the_turn(session: Session) -> None:
    claim = story.begin(session)
    sent = steer(session, "Tests, too.")
    assert (sent.turn_id, sent.ready, sent.repeated) == (claim.turn_id, None, False)
    (added,) = sent.events
    assert (added.number, added.payload["steer"]) == (sent.number, True)
    assert roles(story.history(claim.turn_id)) == ["user Do it."], "the step that runs has its request already"
    tool_calls.request_tools(claim, story.step("Looking."), [read_call("a")])
    again = steer(session, "And docs.")
    assert answer_call(session).ready == claim.turn_id
    story.claim(claim.turn_id)
    assert reads(session) == [[str(sent.message_id), str(again.message_id)]]
    assert roles(story.history(claim.turn_id)) == [
        "user Do it.",
        "assistant Looking.",
        "tool r",
        "user Tests, too.",
        "user And docs.",
    ]
    assert Turn.objects.count() == 1


def test_each_step_reads_what_came_since_the_step_before(session: Session) -> None:
    claim = story.begin(session)
    for call_id in ("a", "b"):
        steer(session, f"before {call_id}")
        tool_calls.request_tools(claim, story.step(), [read_call(call_id)])
        answer_call(session, call_id)
        claim = story.claim(claim.turn_id)
    assert roles(story.history(claim.turn_id)) == [
        "user Do it.",
        "assistant ['a']",
        "tool r",
        "user before a",
        "assistant ['b']",
        "tool r",
        "user before b",
    ]
    assert [len(each) for each in reads(session)] == [1, 1]


def test_a_turn_that_has_not_begun_reads_it_with_its_message(session: Session) -> None:
    first = inbox.accept_message(session.pk, "Do it.")
    sent = steer(session, "Quickly.")
    assert sent.turn_id == first.turn_id
    story.claim(first.turn_id)
    assert roles(story.history(first.turn_id)) == ["user Do it.", "user Quickly."]
    assert agent_choice.read_question(first.turn_id).text == "Do it."


def test_without_an_open_turn_it_is_an_ordinary_message(session: Session) -> None:
    sent = steer(session, "Do it.")
    assert [event.kind for event in sent.events][-2:] == ["message_added", "turn_queued"]
    assert sent.ready == sent.turn_id
    assert "steer" not in sent.events[-2].payload
    attempts.complete(story.claim(sent.turn_id), story.step("Done."))
    assert steer(session, "More.").turn_id != sent.turn_id


def test_it_goes_into_the_active_turn_and_not_into_one_that_waits(session: Session) -> None:
    claim = story.begin(session)
    waiting = inbox.accept_message(session.pk, "later")
    assert steer(session, "now").turn_id == claim.turn_id != waiting.turn_id


def test_a_repeated_client_id_is_the_same_message(session: Session) -> None:
    claim = story.begin(session)
    first = steer(session, "Tests, too.", client_message_id="n")
    again = steer(session, "Tests, too.", client_message_id="n")
    assert again.repeated
    assert (again.message_id, again.turn_id, again.number) == (first.message_id, claim.turn_id, first.number)
    change = attempts.complete(claim, story.step("Done."))
    moved = steer(session, "Tests, too.", client_message_id="n")
    assert (moved.repeated, moved.message_id, moved.turn_id) == (True, first.message_id, change.ready)
    assert Message.objects.filter(role="user").count() == 2


def end_by_cancel(claim: Any) -> Change:
    return attempts.cancel(claim.session_id, None)


def end_by_interrupt(claim: Any) -> Change:
    urgent = inbox.accept_message(claim.session_id, "urgent", interrupt=True)
    attempts.complete(story.claim(urgent.turn_id), story.step("ok"))
    first = Turn.objects.filter(session=claim.session_id, status=TurnStatus.QUEUED).order_by("position").first()
    assert first
    return Change(events=urgent.events, ready=first.pk)


def end_by_lost_workers(claim: Any) -> Change:
    Turn.objects.filter(pk=claim.turn_id).update(lost_leases=recovery.MAX_LOST_LEASES - 1)
    return expire(claim)


ENDINGS: dict[str, Callable[[Any], Change]] = {
    "complete": lambda claim: attempts.complete(claim, story.step("Done.")),
    "question": lambda claim: tool_calls.request_tools(
        claim, story.step(), [ModelToolCall(id="q", name="attempt_completion", arguments={"result": "Done."})]
    ),
    "fail": lambda claim: attempts.fail(claim, code="model_error", text="No."),
    "cancel": end_by_cancel,
    "interrupt": end_by_interrupt,
    "lost": end_by_lost_workers,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_turn_that_ends_first_leaves_its_messages_to_the_next_one(session: Session, ending: str) -> None:
    claim = story.begin(session)
    later = inbox.accept_message(session.pk, "later")
    one, two = steer(session, "one"), steer(session, "two")
    change = ENDINGS[ending](claim)
    old = Turn.objects.get(pk=claim.turn_id)
    assert old.status not in ("queued", "running", "waiting")
    assert old.unread == 0
    assert change.ready
    turn = Turn.objects.get(pk=change.ready)
    assert {turn.pk} == set(Message.objects.filter(steered=True).values_list("turn", flat=True))
    (queued,) = (event for event in events(session) if event.payload.get("messages"))
    assert queued.kind == "turn_queued"
    assert queued.payload == {"turn_id": str(turn.pk), "messages": [str(one.message_id), str(two.message_id)]}
    assert turn.position < Turn.objects.get(pk=later.turn_id).position, "its user wanted it sooner"
    held = story.claim(turn.pk)
    assert reads(session) == [[str(one.message_id), str(two.message_id)]]
    assert roles(story.history(turn.pk))[-2:] == ["user one", "user two"]
    assert attempts.complete(held, story.step("ok")).ready == later.turn_id


def test_the_end_of_a_turn_is_the_last_of_its_events(session: Session) -> None:
    claim = story.begin(session)
    steer(session, "one")
    kinds = [event.kind for event in attempts.complete(claim, story.step("Done.")).events]
    assert kinds == ["message_added", "turn_queued", "turn_completed"]


def test_a_turn_that_waits_too_long_for_a_tool_leaves_its_messages(session: Session) -> None:
    claim = story.request(session, read_call("a"))
    steer(session, "one")
    Turn.objects.filter(pk=claim.turn_id).update(waiting_since=timezone.now() - recovery.TOOL_TIMEOUT * 2)
    ready = recovery.recover(claim.turn_id).ready
    assert ready
    story.claim(ready)
    assert roles(story.history(ready))[-1] == "user one"


def test_a_step_that_is_repeated_has_read_the_message_once(session: Session) -> None:
    claim = story.request(session, read_call("a"))
    sent = steer(session, "one")
    answer_call(session)
    claim = story.claim(claim.turn_id)
    before = roles(story.history(claim.turn_id))
    expire(claim)
    late = steer(session, "two")
    claim = story.claim(claim.turn_id)
    assert roles(story.history(claim.turn_id)) == [*before, "user two"]
    assert reads(session) == [[str(sent.message_id)], [str(late.message_id)]]
    assert attempts.complete(claim, story.step("Done.")).ready is None


def test_a_turn_at_its_limit_reads_nothing_and_leaves_the_message(session: Session) -> None:
    claim = story.request(session, read_call("a"))
    sent = steer(session, "one")
    Turn.objects.filter(pk=claim.turn_id).update(steps=Limits().steps)
    answer_call(session)
    claim = story.claim(claim.turn_id)
    assert reads(session) == []
    ready = attempts.fail(claim, code="too_many_steps", text="No.").ready
    assert ready == Message.objects.get(pk=sent.message_id).turn_id != claim.turn_id


def test_a_message_that_waits_for_approval_counts_after_the_decision(session: Session, alice: User) -> None:
    claim = story.request(session, write_call("a"))
    steer(session, "Not that file.")
    assert Turn.objects.get().status == TurnStatus.WAITING
    decision = Decision(approve=False, feedback="no", by=alice.pk, via=Via.REST)
    assert approvals.decide(session.pk, "a", decision).ready == claim.turn_id
    story.claim(claim.turn_id)
    assert roles(story.history(claim.turn_id))[-2:] == ["tool Error: no", "user Not that file."]


def test_the_agent_of_the_sub_task_at_work_reads_it(session: Session, alice: User) -> None:
    set_client_plans(session.pk, True)
    choose_agent(session.pk, "architect")
    claim = story.request(session, plan_call("p", subtask("a"), subtask("b", agent="architect")))
    approvals.decide(session.pk, "p", Decision(approve=True, by=alice.pk, via=Via.REST))
    claim = story.claim(claim.turn_id)
    sent = steer(session, "In Python.")
    # It ends the first sub-task; the next step is that of the second one.
    assert attempts.complete(claim, story.step("a is done")).ready == claim.turn_id
    claim = story.claim(claim.turn_id)
    at_work = current_subtask(session)
    assert at_work
    assert at_work.key == "b"
    assert Message.objects.get(pk=sent.message_id).subtask == at_work
    seen = conversation.messages(prompt.claimed_turn(claim.turn_id), at_work)
    assert seen[-1].content == "In Python."
    assert "user In Python." in roles(story.history(claim.turn_id)), "part of the conversation with the user, too"


def test_an_unread_message_can_be_edited_and_withdrawn_without_an_effect_on_the_turn(session: Session) -> None:
    claim = story.begin(session)
    one, two = steer(session, "one"), steer(session, "two")
    assert [message.content for message in inbox.waiting_messages(session.pk)] == ["one", "two"]
    inbox.edit_message(session.pk, one.message_id, "eins")
    assert [event.kind for event in inbox.withdraw_message(session.pk, two.message_id).events] == ["message_withdrawn"]
    assert Turn.objects.get().unread == 1
    tool_calls.request_tools(claim, story.step(), [read_call("a")])
    answer_call(session)
    claim = story.claim(claim.turn_id)
    assert roles(story.history(claim.turn_id))[-1] == "user eins"
    with pytest.raises(Rejected, match="already being answered"):
        inbox.edit_message(session.pk, one.message_id, "x")
    with pytest.raises(Rejected, match="already being answered"):
        withdraw(session, one)
    assert attempts.complete(claim, story.step("Done.")).ready is None


def withdraw(session: Session, message: AcceptedMessage) -> Change:
    return inbox.withdraw_message(session.pk, message.message_id)


def test_a_turn_ends_without_another_when_all_its_unread_messages_were_withdrawn(session: Session) -> None:
    claim = story.begin(session)
    withdraw(session, steer(session, "one"))
    assert attempts.complete(claim, story.step("Done.")).ready is None
    assert Turn.objects.count() == 1


def test_the_turn_of_unread_messages_is_cancelled_with_the_last_of_them(session: Session) -> None:
    claim = story.begin(session)
    one, two = steer(session, "one"), steer(session, "two")
    ready = attempts.complete(claim, story.step("Done.")).ready
    assert [event.kind for event in withdraw(session, one).events] == ["message_withdrawn"]
    change = withdraw(session, two)
    assert [event.kind for event in change.events] == ["message_withdrawn", "turn_cancelled"]
    assert Turn.objects.get(pk=one.turn_id).status == TurnStatus.COMPLETED
    assert [turn.pk for turn in Turn.objects.filter(status=TurnStatus.CANCELLED)] == [ready]


def test_a_stop_of_their_turn_leaves_unread_messages_without_an_answer(session: Session) -> None:
    claim = story.begin(session)
    sent = steer(session, "one")
    ready = attempts.complete(claim, story.step("Done.")).ready
    assert attempts.cancel(session.pk, ready).ready is None
    assert [turn.status for turn in Turn.objects.order_by("position")] == [TurnStatus.COMPLETED, TurnStatus.CANCELLED]
    assert inbox.waiting_messages(session.pk) == []
    with pytest.raises(Rejected, match="already being answered"):
        withdraw(session, sent)
    later = story.begin(session, "Next.")
    assert roles(story.history(later.turn_id)) == ["user Do it.", "assistant Done.", "user one", "user Next."]


def test_a_withdrawn_first_message_leaves_the_turn_to_the_steered_one(session: Session) -> None:
    first = inbox.accept_message(session.pk, "one")
    sent = steer(session, "two")
    assert [event.kind for event in withdraw(session, first).events] == ["message_withdrawn"]
    story.claim(sent.turn_id)
    assert roles(story.history(first.turn_id)) == ["user two"]
    assert agent_choice.read_question(first.turn_id).text == "two"


def test_a_turn_that_has_begun_keeps_its_place_before_one_of_unread_messages(session: Session) -> None:
    waiting = inbox.accept_message(session.pk, "later")
    left = steer(session, "quickly")
    last = inbox.accept_message(session.pk, "much later")
    claim = story.claim(inbox.accept_message(session.pk, "urgent", interrupt=True).turn_id)
    story.stream(claim, new_id(), "Begun.")
    attempts.release(claim)
    attempts.cancel(session.pk, waiting.turn_id)
    moved = Message.objects.get(pk=left.message_id).turn_id
    queued = Turn.objects.filter(status=TurnStatus.QUEUED).order_by("position").values_list("pk", flat=True)
    assert list(queued) == [claim.turn_id, moved, last.turn_id]
    assert story.claim(claim.turn_id).is_repeat, "clients replace what they have seen of it"


def test_deleting_a_session_begins_no_turn(session: Session) -> None:
    story.begin(session)
    steer(session, "one")
    deletion.delete_session(session.pk)
    assert [turn.status for turn in Turn.objects.all()] == [TurnStatus.CANCELLED]


def test_messages_beyond_the_limit_are_queued(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_UNREAD", 2)
    claim = story.begin(session)
    turns = [steer(session, f"{i}").turn_id for i in range(3)]
    assert turns[:2] == [claim.turn_id] * 2
    assert turns[2] != claim.turn_id
    assert steering.MAX_UNREAD == 100


def test_a_completion_takes_no_message(alice: User) -> None:
    request = completions.CompletionRequest(model="m", messages=[{"role": "user", "content": "Hi"}])
    accepted = completions.accept(alice.pk, request)
    session = Session.objects.get(pk=accepted.session_id)
    assert steer(session, "one").turn_id != accepted.turn_id


# Races: two transactions at once, on connections of their own


def race(*verbs: Callable[[], Any]) -> list[Any]:
    """Run verbs at the same moment; return what each returned or raised."""
    gate, outcomes = threading.Barrier(len(verbs)), list[Any]([None] * len(verbs))

    def run(place: int, verb: Callable[[], Any]) -> None:
        try:
            gate.wait()
            outcomes[place] = verb()
        except (StaleAttempt, Rejected) as error:
            outcomes[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(verbs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def finish_all(session: Session) -> None:
    """Answer everything that is open, as workers and a client would."""
    for _ in range(20):
        turn = session.turns.filter(status__in=["queued", "running", "waiting"]).order_by("position").first()
        if turn is None:
            return
        if turn.status == TurnStatus.WAITING:
            for call in tool_calls.open_calls(session.pk):
                answer_call(session, call.call_id)
        elif turn.status == TurnStatus.RUNNING:
            Turn.objects.filter(pk=turn.pk).update(lease_expires_at=timezone.now() - attempts.LEASE_DURATION)
            recovery.recover(turn.pk)
        else:
            attempts.complete(story.claim(turn.pk), story.step("ok"))
    raise AssertionError("the session does not come to rest")


RIVALS: dict[str, Callable[[Any], Any]] = {
    "complete": ENDINGS["complete"],
    "request_tools": lambda claim: tool_calls.request_tools(claim, story.step(), [read_call("a")]),
    "cancel": end_by_cancel,
    "recovery": expire,
    "lost": end_by_lost_workers,
    "release": attempts.release,
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rival", RIVALS)
def test_whoever_comes_first_each_message_is_read_once(session: Session, rival: str) -> None:
    for number in range(4):
        claim = story.begin(session)
        outcomes = race(
            partial(RIVALS[rival], claim),
            partial(steer, session, "one", client_message_id=f"one {number}"),
            partial(steer, session, "two", client_message_id=f"one {number}"),
            partial(steer, session, "three"),
        )
        accepted = [each for each in outcomes if isinstance(each, AcceptedMessage)]
        assert len({each.message_id for each in accepted}) == 2, "the same client id is the same message"
        finish_all(session)
    steered = Message.objects.filter(steered=True).order_by("number")
    assert [str(message.pk) for message in steered] == list(chain(*reads(session)))
    assert all(message.read_number for message in steered)
    # Those that came after the end of the turn had turns of their own.
    assert Message.objects.filter(role="user").count() == 4 * 3
    added = [event for event in events(session) if event.kind == EventKind.MESSAGE_ADDED]
    assert sum(event.payload["role"] == "user" for event in added) == 4 * 3
