"""The clean-up survives what it cannot clean: rows that fail are put off, and everything else goes on."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session as BrowserSession
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from codelab.identity import upkeep
from sessions import tasks
from sessions.events import compaction, log
from sessions.models import Event, PostponedItem, Session, Turn, Worker, new_id
from sessions.results import StepResult
from sessions.turns import attempts, retention
from sessions.turns.sessions import open_session
from sessions.upkeep import pieces
from sessions.upkeep.parts import run_parts
from tests.sessions.story import begin, stream

LONG_AGO = timedelta(days=400)


def refuse(table: str, operation: str, condition: str) -> None:
    """Let PostgreSQL refuse to change the rows that fulfil a condition."""
    name = f"refuse_{table}_{operation}".lower()
    with connection.cursor() as cursor:
        cursor.execute(f"""
            CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$;
            CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH ROW WHEN ({condition})
            EXECUTE FUNCTION {name}()
        """)


def ended_turn(session: Session, count: int = 3, *, ago: timedelta = timedelta(hours=1)) -> Turn:
    """A turn of so many pieces, "0 1 2 …", that ended a while ago."""
    claim, message_id = begin(session), new_id()
    texts = [f"{number} " for number in range(count)]
    stream(claim, message_id, *texts)
    attempts.complete(claim, StepResult(message_id=message_id, text="".join(texts)))
    Turn.objects.filter(pk=claim.turn_id).update(finished_at=Now() - ago)
    return Turn.objects.get(pk=claim.turn_id)


def test_a_turn_that_cannot_be_compacted_holds_up_no_other(alice: User) -> None:
    poison, fine = (open_session(alice.pk, key) for key in ("poison", "fine"))
    bad, good = ended_turn(poison, ago=timedelta(hours=2)), ended_turn(fine)
    refuse("agent_sessions_event", "UPDATE", f"OLD.session_id = '{poison.pk}'")
    compaction.compact_ended_turns(math.inf)
    assert Turn.objects.get(pk=good.pk).folded
    assert not Turn.objects.get(pk=bad.pk).folded
    item = PostponedItem.objects.get()
    assert (item.kind, item.item, item.failures) == ("compaction", str(bad.pk), 1)
    assert item.retry_at > timezone.now() + timedelta(minutes=9)
    compaction.compact_ended_turns(math.inf)
    assert PostponedItem.objects.get().failures == 1, "it waits"
    PostponedItem.objects.update(retry_at=Now())
    compaction.compact_ended_turns(math.inf)
    assert PostponedItem.objects.get().failures == 2, "it is tried again"


def test_a_session_that_cannot_be_deleted_holds_up_no_other(alice: User, settings: Settings) -> None:
    settings.CODELAB_SESSION_DAYS = 30
    poison = open_session(alice.pk, "poison")
    others = [open_session(alice.pk, f"s{number}") for number in range(3)]
    for session in (poison, *others):
        ended_turn(session)
    Session.objects.update(updated_at=Now() - LONG_AGO)
    refuse("agent_sessions_message", "DELETE", f"OLD.session_id = '{poison.pk}'")
    assert retention.delete_expired_sessions(math.inf) == len(others)
    assert list(Session.every.all()) == [poison]
    assert PostponedItem.objects.get().item == str(poison.pk)


def test_a_row_that_cannot_be_deleted_holds_up_no_other(db: None) -> None:
    for name in ("a", "b", "c"):
        Worker.objects.create(name=name, started_at=timezone.now() - LONG_AGO, seen_at=timezone.now() - LONG_AGO)
    refuse("agent_sessions_worker", "DELETE", "OLD.name = 'b'")
    assert retention.delete_gone_workers(math.inf) == 2
    assert [worker.name for worker in Worker.objects.all()] == ["b"]
    assert retention.delete_gone_workers(math.inf) == 0


def test_large_and_many_sessions_are_deleted(alice: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CODELAB_SESSION_DAYS = 30
    monkeypatch.setattr(retention, "BATCH_EVENTS", 20)
    monkeypatch.setattr(retention, "BATCH_SESSIONS", 4)
    for number in range(10):
        ended_turn(open_session(alice.pk, f"s{number}"), count=30 if number == 5 else 1)
    Session.objects.update(updated_at=Now() - LONG_AGO)
    assert retention.delete_expired_sessions(math.inf) == 10
    assert not Event.objects.exists()


def test_a_part_that_fails_ends_no_other_and_time_is_shared() -> None:
    deadlines: list[float] = []

    def fail(deadline: float) -> int:
        deadlines.append(deadline)
        raise ValueError

    def work(deadline: float) -> int:
        deadlines.append(deadline)
        return 1

    run_parts({"first": fail, "second": work, "third": work}, seconds=9)
    first, second, third = deadlines
    assert second - first == pytest.approx(1.5, abs=0.5)
    assert third - second == pytest.approx(4.5, abs=0.5)


def test_tidy_goes_on_when_sessions_cannot_be_deleted(alice: User, settings: Settings) -> None:
    settings.CODELAB_SESSION_DAYS = 30
    old, used = open_session(alice.pk, "old"), open_session(alice.pk, "used")
    ended_turn(old)
    turn = ended_turn(used)
    Session.objects.filter(pk=old.pk).update(updated_at=Now() - LONG_AGO)
    refuse("agent_sessions_session", "DELETE", "TRUE")
    tasks.tidy()
    assert Turn.objects.get(pk=turn.pk).folded


@pytest.mark.parametrize("window", [1, 3, 4, 7, 100])
def test_a_long_turn_is_compacted_in_windows(session: Session, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(compaction, "WINDOW", window)
    turn = ended_turn(session, 20)
    before = {number: text_after(session, number) for number in range(25)}
    runs = 0
    while (saved := compaction.compact_window(turn.pk)) is not None:
        runs += 1
        assert saved < window
        assert {number: text_after(session, number) for number in range(25)} == before
    assert runs >= 22 / window
    turn.refresh_from_db()
    assert (turn.folded, turn.compaction) == (True, None)


def text_after(session: Session, number: int) -> str:
    return "".join(e.payload["text"] for e in log.since(session.pk, number) if e.kind == "text_delta")


def test_a_deadline_ends_a_run_and_the_next_one_goes_on(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "WINDOW", 5)
    turn = ended_turn(session, 20)
    compaction.compact_ended_turns(-math.inf)
    assert Event.objects.filter(kind="text_delta").count() == 20
    compaction.compact_window(turn.pk)
    turn.refresh_from_db()
    assert turn.compaction
    assert turn.compaction["number"] == turn.position + 5
    compaction.compact_ended_turns(math.inf)
    assert Event.objects.filter(kind="text_delta").count() < 6


def test_browser_sessions_that_expired_are_deleted(db: None) -> None:
    for key, age in (("old", timedelta(days=-1)), ("new", timedelta(days=1))):
        BrowserSession.objects.create(session_key=key, session_data="", expire_date=timezone.now() + age)
    upkeep.delete_expired()
    assert [row.session_key for row in BrowserSession.objects.all()] == ["new"]


def test_what_did_not_fail_again_is_forgotten(db: None) -> None:
    pieces.postpone("retention", new_id(), ValueError())
    PostponedItem.objects.update(retry_at=Now() - LONG_AGO)
    pieces.forget_postponed(math.inf)
    assert not PostponedItem.objects.exists()
