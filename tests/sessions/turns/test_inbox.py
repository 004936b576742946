from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from sessions.api.websocket.snapshot import snapshot
from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.models import Event, Message, Session, ToolCall, Turn, TurnStatus, new_id
from sessions.protocol.codes import Rejected
from sessions.results import AcceptedMessage, StepResult
from sessions.turns import attempts, inbox, tool_calls
from sessions.turns.sessions import open_session
from tests.sessions import story
from tests.sessions.calls import read_call


def say(session: Session, content: str, *, interrupt: bool = False) -> AcceptedMessage:
    return inbox.accept_message(session.pk, content, interrupt=interrupt)


def answer(accepted: AcceptedMessage) -> AcceptedMessage | None:
    """Answer a message; return nothing, or fail when it was not its turn."""
    attempts.complete(story.claim(accepted.turn_id), StepResult(message_id=new_id(), text="ok"))
    return None


def waiting(session: Session) -> list[str]:
    return [message.content for message in inbox.waiting_messages(session.pk)]


def refusal(*arguments: object) -> str:
    with pytest.raises(Rejected) as caught:
        (inbox.edit_message if len(arguments) == 3 else inbox.withdraw_message)(*arguments)  # type: ignore[arg-type]
    return caught.value.code


def test_a_waiting_message_can_be_edited(session: Session) -> None:
    first, second = say(session, "one"), say(session, "two")
    story.claim(first.turn_id)
    change = inbox.edit_message(session.pk, second.message_id, "zwei")
    assert [event.kind for event in change.events] == ["message_edited"]
    assert waiting(session) == ["zwei"]
    assert Message.objects.get(pk=second.message_id).content == "zwei"


def test_a_waiting_message_can_be_withdrawn_and_is_never_shown_again(session: Session) -> None:
    first, second, third = say(session, "one"), say(session, "two"), say(session, "three")
    claim = story.claim(first.turn_id)
    change = inbox.withdraw_message(session.pk, second.message_id)
    assert [event.kind for event in change.events] == ["message_withdrawn", "turn_cancelled"]
    assert change.ready is None
    assert attempts.complete(claim, StepResult(message_id=new_id(), text="ok")).ready == third.turn_id
    story.claim(third.turn_id)
    assert [m.content for m in story.history(third.turn_id)] == ["one", "ok", "three"]
    assert "two" not in str(snapshot(session.pk))
    assert Message.objects.get(pk=second.message_id).content == "two", "the record keeps it"
    assert refusal(session.pk, second.message_id) == "message_not_found"


def test_withdrawing_the_next_message_makes_the_one_behind_it_ready(session: Session) -> None:
    first, second = say(session, "one"), say(session, "two")
    assert inbox.withdraw_message(session.pk, first.message_id).ready == second.turn_id


def test_a_message_that_was_begun_cannot_be_changed(session: Session) -> None:
    accepted = say(session, "one")
    claim = story.claim(accepted.turn_id)
    for arguments in ((session.pk, accepted.message_id, "x"), (session.pk, accepted.message_id)):
        assert refusal(*arguments) == "message_begun"
    attempts.release(claim)
    assert refusal(session.pk, accepted.message_id, "x") == "message_begun", "text of it may have been shown"
    answer(accepted)
    assert refusal(session.pk, accepted.message_id) == "message_begun"


def test_only_the_owner_can_change_messages(session: Session, bob: User) -> None:
    accepted = say(session, "one")
    bobs = open_session(bob.pk, "queue")
    assert refusal(bobs.pk, accepted.message_id, "x") == "message_not_found"
    assert refusal(bobs.pk, accepted.message_id) == "message_not_found"
    assert refusal(session.pk, new_id()) == "message_not_found"
    assert waiting(session) == ["one"]


def test_an_interrupt_stops_the_active_turn_and_goes_before_waiting_ones(session: Session) -> None:
    first, second, third = say(session, "one"), say(session, "two"), say(session, "three")
    claim = story.claim(first.turn_id)
    urgent = say(session, "now", interrupt=True)
    assert [event.kind for event in urgent.events] == [
        "turn_cancelled",
        "message_added",
        "turn_queued",
        "queue_changed",
    ]
    assert urgent.ready == urgent.turn_id
    assert Turn.objects.get(pk=first.turn_id).status == TurnStatus.CANCELLED
    with pytest.raises(StaleAttempt):
        attempts.complete(claim, StepResult(message_id=new_id(), text="too late"))
    assert waiting(session) == ["now", "two", "three"]
    more_urgent = say(session, "at once", interrupt=True)
    assert waiting(session) == ["at once", "now", "two", "three"]
    for accepted in (more_urgent, urgent, second, third):
        answer(accepted)
    assert [event.number for event in log.since(session.pk, 0)] == list(range(1, Event.objects.count() + 1))


def test_an_interrupt_does_not_wait_for_a_tool(session: Session) -> None:
    claim = story.claim(say(session, "one").turn_id)
    tool_calls.request_tools(claim, StepResult(message_id=new_id(), text=""), [read_call("a")])
    urgent = say(session, "now", interrupt=True)
    answer(urgent)
    assert ToolCall.objects.get().status == "unknown", "it is out with a client and may run all the same"


def test_an_interrupt_without_an_active_turn_is_an_ordinary_message(session: Session) -> None:
    accepted = say(session, "one", interrupt=True)
    assert [event.kind for event in accepted.events] == ["agent_switched", "message_added", "turn_queued"]
    answer(accepted)


def test_an_interrupt_that_is_sent_twice_interrupts_once(session: Session) -> None:
    story.claim(say(session, "one").turn_id)
    first = inbox.accept_message(session.pk, "now", client_message_id="n", interrupt=True)
    claim = story.claim(first.turn_id)
    again = inbox.accept_message(session.pk, "now", client_message_id="n", interrupt=True)
    assert (again.repeated, again.turn_id) == (True, first.turn_id)
    attempts.complete(claim, StepResult(message_id=new_id(), text="ok"))
