from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from sessions.events import compaction, log
from sessions.events.log import Addition, LoggedEvent, NewEvent
from sessions.models import PIECES, Event, EventKind, Session, Turn, new_id
from sessions.results import Claim, StepResult
from sessions.turns import attempts, inbox
from tests.sessions import story
from tests.sessions.story import begin


def stream(held: Claim, message_id: uuid.UUID, *texts: str, kind: EventKind = EventKind.TEXT_DELTA) -> None:
    for text in texts:
        payload = {"turn_id": str(held.turn_id), "message_id": str(message_id), "text": text}
        event = NewEvent(kind=kind, turn_id=held.turn_id, attempt=held.attempt, payload=payload)
        addition = Addition(session_id=held.session_id, turn_id=held.turn_id, attempt=held.attempt, events=(event,))
        log.append_all([addition])


def answered(session: Session, *texts: str) -> Claim:
    """A turn that has ended, with these pieces of text."""
    held, message_id = begin(session), new_id()
    stream(held, message_id, *texts)
    attempts.complete(held, StepResult(message_id=message_id, text="".join(texts)))
    return held


def spelled_out(events: list[LoggedEvent]) -> list[tuple[int, int, str]]:
    return [
        (event.first or event.number, event.number, event.payload["text"])
        for event in events
        if event.kind == EventKind.TEXT_DELTA
    ]


def test_pieces_become_one_event_that_stands_for_their_numbers(session: Session) -> None:
    held = answered(session, "Grüße, ", "😀", " und ", "mehr")
    before = log.since(session.pk, 0)
    assert compaction.compact(held.turn_id) == 3
    after = log.since(session.pk, 0)
    assert spelled_out(after) == [(5, 8, "Grüße, 😀 und mehr")]
    assert [e for e in after if e.kind != "text_delta"] == [e for e in before if e.kind != "text_delta"]
    assert "ends" not in after[4].payload, "that is for the reader of the log alone"


@pytest.mark.parametrize("number", range(4, 9))
def test_whoever_comes_back_in_the_middle_gets_exactly_the_rest(session: Session, number: int) -> None:
    texts = ["Grüße, ", "😀", " und ", "mehr"]
    held = answered(session, *texts)
    before = log.since(session.pk, number)
    compaction.compact(held.turn_id)
    after = log.since(session.pk, number)
    assert "".join(text for *_, text in spelled_out(after)) == "".join(texts[number - 4 :])
    assert "".join(text for *_, text in spelled_out(before)) == "".join(texts[number - 4 :])
    if number < 8:
        assert spelled_out(after)[0][:2] == (number + 1, 8)


def test_what_happened_in_between_stays_in_between(session: Session) -> None:
    held, message_id = begin(session), new_id()
    stream(held, message_id, "a", "b")
    behind = inbox.accept_message(session.pk, "behind")
    stream(held, message_id, "c", "d")
    attempts.complete(held, StepResult(message_id=message_id, text="abcd"))
    compaction.compact(held.turn_id)
    assert spelled_out(log.since(session.pk, 0)) == [(5, 6, "ab"), (9, 10, "cd")]
    assert [event.number for event in log.since(session.pk, 6)][:2] == [7, 8]
    assert behind.number == 8


def test_long_texts_are_folded_into_events_of_bounded_size(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MAX_TEXT_LENGTH", 10)
    held = answered(session, *["12345"] * 7)
    compaction.compact(held.turn_id)
    assert [(first, last) for first, last, _ in spelled_out(log.since(session.pk, 0))] == [
        (5, 6),
        (7, 8),
        (9, 10),
        (11, 11),
    ]


def test_only_turns_that_ended_a_while_ago_are_folded_and_once(session: Session) -> None:
    held = answered(session, "a", "b")
    running = begin(session)
    assert compaction.compactable_turns(10) == []
    Turn.objects.filter(pk=held.turn_id).update(
        finished_at=timezone.now() - compaction.COMPACT_AFTER - timedelta(seconds=1)
    )
    assert compaction.compactable_turns(10) == [held.turn_id]
    assert compaction.compact(running.turn_id) == 0
    assert compaction.compact(held.turn_id) == 1
    assert compaction.compact(held.turn_id) == 0
    assert compaction.compactable_turns(10) == []


def test_the_pieces_of_an_attempt_that_was_replaced_stay_its_own(session: Session) -> None:
    held, first, second = begin(session), new_id(), new_id()
    stream(held, first, "a", "b")
    attempts.release(held)
    again = story.claim(held.turn_id)
    assert again.is_repeat
    stream(again, second, "c", "d")
    attempts.complete(again, StepResult(message_id=second, text="cd"))
    compaction.compact(held.turn_id)
    assert [text for *_, text in spelled_out(log.since(session.pk, 0))] == ["ab", "cd"]
    assert Event.objects.filter(kind="text_delta").count() == 2


def test_what_was_thought_and_what_was_said_are_folded_apart(session: Session) -> None:
    held, message_id = begin(session), new_id()
    stream(held, message_id, "Hm, ", "let me see", kind=EventKind.REASONING_DELTA)
    stream(held, message_id, "It ", "is ", "so")
    attempts.complete(held, StepResult(message_id=message_id, text="It is so", reasoning="Hm, let me see"))
    assert compaction.compact(held.turn_id) == 3
    pieces = [event for event in log.since(session.pk, 0) if event.kind in PIECES]
    assert [(event.kind, event.payload["text"]) for event in pieces] == [
        ("reasoning_delta", "Hm, let me see"),
        ("text_delta", "It is so"),
    ]
