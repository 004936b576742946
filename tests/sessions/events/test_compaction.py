from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sessions.events import compaction, log
from sessions.events.log import LoggedEvent
from sessions.models import PIECES, Event, EventKind, Session, Turn, new_id
from sessions.results import Claim, StepResult
from sessions.turns import attempts, inbox
from tests.sessions import story
from tests.sessions.story import begin, stream


def completed_turn(session: Session, *texts: str) -> Claim:
    """Return a completed turn with these pieces of text."""
    claim, message_id = begin(session), new_id()
    stream(claim, message_id, *texts)
    attempts.complete(claim, StepResult(message_id=message_id, text="".join(texts)))
    return claim


def text_spans(events: list[LoggedEvent]) -> list[tuple[int, int, str]]:
    return [
        (event.first or event.number, event.number, event.payload["text"])
        for event in events
        if event.kind == EventKind.TEXT_DELTA
    ]


def test_pieces_become_one_event_that_replaces_their_numbers(session: Session) -> None:
    claim = completed_turn(session, "Grüße, ", "😀", " und ", "mehr")
    before = log.since(session.pk, 0)
    assert compaction.compact(claim.turn_id) == 3
    after = log.since(session.pk, 0)
    assert text_spans(after) == [(5, 8, "Grüße, 😀 und mehr")]
    assert [e for e in after if e.kind != "text_delta"] == [e for e in before if e.kind != "text_delta"]
    assert "ends" not in after[4].payload, "clients do not see the ends"


@pytest.mark.parametrize("number", range(4, 9))
def test_a_client_that_returns_in_the_middle_gets_exactly_the_rest(session: Session, number: int) -> None:
    texts = ["Grüße, ", "😀", " und ", "mehr"]
    claim = completed_turn(session, *texts)
    before = log.since(session.pk, number)
    compaction.compact(claim.turn_id)
    after = log.since(session.pk, number)
    assert "".join(text for *_, text in text_spans(after)) == "".join(texts[number - 4 :])
    assert "".join(text for *_, text in text_spans(before)) == "".join(texts[number - 4 :])
    if number < 8:
        assert text_spans(after)[0][:2] == (number + 1, 8)


def test_events_between_pieces_keep_their_place(session: Session) -> None:
    claim, message_id = begin(session), new_id()
    stream(claim, message_id, "a", "b")
    behind = inbox.accept_message(session.pk, "behind")
    stream(claim, message_id, "c", "d")
    attempts.complete(claim, StepResult(message_id=message_id, text="abcd"))
    compaction.compact(claim.turn_id)
    assert text_spans(log.since(session.pk, 0)) == [(5, 6, "ab"), (9, 10, "cd")]
    assert [event.number for event in log.since(session.pk, 6)][:2] == [7, 8]
    assert behind.number == 8


def test_long_texts_are_compacted_into_events_of_bounded_size(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MAX_TEXT_LENGTH", 10)
    claim = completed_turn(session, *["12345"] * 7)
    compaction.compact(claim.turn_id)
    assert [(first, last) for first, last, _ in text_spans(log.since(session.pk, 0))] == [
        (5, 6),
        (7, 8),
        (9, 10),
        (11, 11),
    ]


def test_turns_are_compacted_once_and_a_while_after_their_end(session: Session) -> None:
    claim = completed_turn(session, "a", "b")
    running = begin(session)
    assert compaction.compactable_turns(10) == []
    Turn.objects.filter(pk=claim.turn_id).update(
        finished_at=timezone.now() - compaction.COMPACT_AFTER - timedelta(seconds=1)
    )
    assert compaction.compactable_turns(10) == [claim.turn_id]
    assert compaction.compact(running.turn_id) == 0
    assert compaction.compact(claim.turn_id) == 1
    assert compaction.compact(claim.turn_id) == 0
    assert compaction.compactable_turns(10) == []


def test_pieces_of_different_attempts_are_compacted_apart(session: Session) -> None:
    claim, first, second = begin(session), new_id(), new_id()
    stream(claim, first, "a", "b")
    attempts.release(claim)
    again = story.claim(claim.turn_id)
    assert again.is_repeat
    stream(again, second, "c", "d")
    attempts.complete(again, StepResult(message_id=second, text="cd"))
    compaction.compact(claim.turn_id)
    assert [text for *_, text in text_spans(log.since(session.pk, 0))] == ["ab", "cd"]
    assert Event.objects.filter(kind="text_delta").count() == 2


def test_reasoning_and_text_are_compacted_apart(session: Session) -> None:
    claim, message_id = begin(session), new_id()
    stream(claim, message_id, "Hm, ", "let me see", kind=EventKind.REASONING_DELTA)
    stream(claim, message_id, "It ", "is ", "so")
    attempts.complete(claim, StepResult(message_id=message_id, text="It is so", reasoning="Hm, let me see"))
    assert compaction.compact(claim.turn_id) == 3
    pieces = [event for event in log.since(session.pk, 0) if event.kind in PIECES]
    assert [(event.kind, event.payload["text"]) for event in pieces] == [
        ("reasoning_delta", "Hm, let me see"),
        ("text_delta", "It is so"),
    ]
