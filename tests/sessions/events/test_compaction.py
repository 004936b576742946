from __future__ import annotations

import importlib
import json
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone

from llm.types import ModelToolCall
from sessions.events import compaction, log
from sessions.events.log import LoggedEvent
from sessions.models import PIECES, Event, EventKind, Session, Turn, new_id
from sessions.results import Claim, StepResult
from sessions.turns import attempts, inbox, tool_calls
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


@pytest.fixture
def all_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of the version before is left."""
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))


LONG = "Grüße 😀 an alle, die das lesen. " * 3


def a_day(session: Session) -> list[uuid.UUID]:
    """Turns with everything that compaction meets. Returns their ids."""
    claim, first, second = begin(session, f"Please: {LONG}"), new_id(), new_id()
    stream(claim, first, "lost ", "text ", LONG)
    attempts.release(claim)
    claim = story.claim(claim.turn_id)
    stream(claim, second, "Hm, ", LONG, kind=EventKind.REASONING_DELTA)
    stream(claim, second, *LONG[:40])
    behind = inbox.accept_message(session.pk, f"behind {LONG}")
    inbox.edit_message(session.pk, behind.message_id, f"edited {LONG}")
    stream(claim, second, "more ", kind=EventKind.REASONING_DELTA)
    stream(claim, second, *LONG[40:], LONG)
    result = StepResult(message_id=second, text=LONG + LONG, reasoning=f"Hm, {LONG}more ", calls=(story.model_call(),))
    write = ModelToolCall(id="c1", name="write_file", arguments={"path": "a.py", "content": LONG})
    tool_calls.request_tools(claim, result, [write])
    tool_calls.record_tool_result(session.pk, "c1", content=f"done {LONG}", failed=False)
    claim, third = story.claim(claim.turn_id), new_id()
    # The message says something else than the pieces did.
    stream(claim, third, *LONG)
    attempts.complete(claim, StepResult(message_id=third, text=LONG[1:]))
    cut, fourth = story.claim(behind.turn_id), new_id()
    stream(cut, fourth, *LONG)
    half = StepResult(message_id=fourth, text=LONG)
    attempts.fail(cut, code="model_timeout", text="It took too long.", result=half)
    return [claim.turn_id, cut.turn_id]


def seen_from_everywhere(session: Session) -> list[list[object]]:
    """What clients get that have seen the first n events, to the byte."""
    last = Session.objects.get(pk=session.pk).last_number
    return [
        [(e.number, e.first, e.kind, json.dumps(e.payload)) for e in log.since(session.pk, number, 10_000)]
        for number in range(last + 1)
    ]


def texts_from_everywhere(session: Session) -> list[list[object]]:
    """The same, with the pieces of each message joined, because compaction makes fewer of them."""
    last = Session.objects.get(pk=session.pk).last_number
    views: list[list[object]] = []
    for number in range(last + 1):
        texts: dict[tuple[str, str], str] = {}
        others: list[object] = []
        page = log.since(session.pk, number, 10_000)
        assert not page.more
        for event in page:
            if event.kind in PIECES:
                key = (event.kind, event.payload["message_id"])
                texts[key] = texts.get(key, "") + event.payload["text"]
            else:
                others.append((event.number, event.kind, json.dumps(event.payload)))
        views.append([texts, others])
    return views


@pytest.mark.usefixtures("all_can_read")
@pytest.mark.parametrize("window", [7, 50, 5000])
def test_every_client_gets_the_same_from_messages(
    session: Session, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(compaction, "WINDOW", window)
    monkeypatch.setattr(log, "MAX_PAGE_BYTES", 10_000_000)
    turns = a_day(session)
    plain = texts_from_everywhere(session)
    for turn_id in turns:
        compaction.compact(turn_id)
    assert texts_from_everywhere(session) == plain
    referring = seen_from_everywhere(session)
    put_back_texts()
    assert seen_from_everywhere(session) == referring, "the same bytes as from events that have their texts"


def put_back_texts() -> None:
    migration = importlib.import_module("sessions.migrations.0022_texts_stand_in_messages")
    assert Event.objects.filter(payload__has_key="from_message").exists()
    migration.put_back(apps, SimpleNamespace(connection=connection))
    assert not Event.objects.filter(payload__has_key="from_message").exists()


@pytest.mark.usefixtures("all_can_read")
def test_a_text_is_stored_once(session: Session) -> None:
    text = "".join(f"word {number} " for number in range(200))
    claim = completed_turn(session, *(f"word {number} " for number in range(200)))
    compaction.compact(claim.turn_id)
    payloads = [json.dumps(payload) for payload in Event.objects.values_list("payload", flat=True)]
    assert [payload for payload in payloads if "word 7" in payload] == []
    assert [e.payload["text"] for e in log.since(session.pk, 0) if e.kind == EventKind.TEXT_DELTA] == [text]


def test_texts_stay_in_events_while_the_version_before_may_read_them(session: Session) -> None:
    claim = completed_turn(session, *LONG)
    compaction.compact(claim.turn_id)
    assert not Event.objects.filter(payload__has_key="from_message").exists()


@pytest.mark.usefixtures("all_can_read")
def test_turns_that_were_compacted_with_their_texts_can_be_compacted_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = a_day(session)
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(days=1))
    for turn_id in turns:
        compaction.compact(turn_id)
    before = seen_from_everywhere(session)
    assert not Event.objects.filter(payload__has_key="from_message").exists()
    monkeypatch.setattr(compaction, "READERS_GRACE", timedelta(0))
    Turn.objects.update(folded=False)
    for turn_id in turns:
        assert compaction.compact(turn_id) == 0
    assert Event.objects.filter(payload__has_key="from_message").exists()
    assert seen_from_everywhere(session) == before
