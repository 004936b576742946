from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from agents.context import Window
from agents.roles import ROLES
from agents.routing import Confidence, Route
from llm.errors import ModelContextTooLong
from llm.wire.history import NO_RESULT, replay
from sessions.database import TooLate
from sessions.errors import NothingToCancel, StaleAttempt, ToolCallRejected
from sessions.events import log
from sessions.events.log import IDLE_LOCK_TIMEOUT, Addition, Appended, NewEvent
from sessions.models import Event, EventKind, Message, Session, ToolCall, Turn, TurnStatus, new_id
from sessions.results import AcceptedMessage, AgentChoice, Change, Claim, StepResult
from sessions.turns import attempts, inbox, recovery, tool_calls
from sessions.turns.sessions import open_session, owned_session
from sessions.worker import prompt
from tests.sessions import story
from tests.sessions.calls import read_call
from tests.sessions.story import model_call, step


@pytest.fixture
def quick_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have locks end as early as in a real process."""
    monkeypatch.setattr(log, "IDLE_LOCK_TIMEOUT", IDLE_LOCK_TIMEOUT)


def accept(session: Session, content: str = "Hi") -> AcceptedMessage:
    return inbox.accept_message(session.pk, content)


def kinds(session: Session) -> list[str]:
    return [event.kind for event in log.since(session.pk, 0)]


def status(turn_id: uuid.UUID) -> str:
    return Turn.objects.get(pk=turn_id).status


def expire(turn_id: uuid.UUID) -> None:
    Turn.objects.filter(pk=turn_id).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_a_session_is_made_on_first_use_and_found_again(alice: User, bob: User) -> None:
    session = open_session(alice.pk, "test_session")
    assert open_session(alice.pk, "test_session").pk == session.pk
    assert session.key == "test_session"
    assert session.pk.version == 7
    assert owned_session(bob.pk, "test_session") is None
    assert open_session(bob.pk, "test_session").pk != session.pk


def test_an_accepted_message_is_stored_with_its_turn_and_its_events(session: Session) -> None:
    accepted = accept(session, "Hi\tthere 🙂")
    message = Message.objects.get(pk=accepted.message_id)
    assert (message.role, message.content, message.turn_id) == ("user", "Hi\tthere 🙂", accepted.turn_id)
    assert status(accepted.turn_id) == TurnStatus.QUEUED
    assert kinds(session) == ["agent_switched", "message_added", "turn_queued"]
    assert accepted.ready == accepted.turn_id
    second = accept(session)
    assert [event.number for event in second.events] == [4, 5]


def test_too_late_means_that_nothing_was_stored(session: Session) -> None:
    with pytest.raises(TooLate):
        inbox.accept_message(session.pk, "Hi", deadline=time.monotonic() - 1)
    assert not Message.objects.exists()
    assert not Turn.objects.exists()
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_message_that_postgresql_stores_too_late_is_not_stored(session: Session) -> None:
    """Its writes go with the COMMIT, so PostgreSQL checks the time between both."""
    parameters = {**connection.get_connection_params(), "dbname": connection.settings_dict["NAME"]}
    with psycopg.connect(**parameters) as other:
        other.execute("LOCK TABLE agent_sessions_message IN SHARE MODE")
        freed = threading.Timer(1.5, other.commit)
        freed.start()
        with pytest.raises(TooLate):
            inbox.accept_message(session.pk, "Hi", deadline=time.monotonic() + 0.75)
        freed.join()
    assert not Message.objects.exists()
    assert not Event.objects.exists()
    assert accept(session, "Hi, again").events


def test_a_turn_runs_to_its_end(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    assert claim.attempt == 1
    answer = step("Hello", model_call(tokens=(6, 2)))
    change = attempts.complete(claim, answer)
    turn = Turn.objects.get(pk=claim.turn_id)
    assert (turn.status, turn.steps, turn.input_tokens, turn.output_tokens) == (TurnStatus.COMPLETED, 1, 6, 2)
    assert turn.lease_expires_at is None
    assert turn.finished_at is not None
    assert Message.objects.get(pk=answer.message_id).content == "Hello"
    assert [event.kind for event in change.events] == ["message_added", "turn_completed"]
    assert change.ready is None


def test_a_turn_is_claimed_once(session: Session) -> None:
    turn_id = accept(session).turn_id
    story.claim(turn_id)
    assert attempts.claim(turn_id, worker="other", model="scripted") is None
    assert attempts.claim(new_id(), worker="other", model="scripted") is None


def test_turns_of_a_session_run_in_order(session: Session) -> None:
    first, second = accept(session, "1"), accept(session, "2")
    assert attempts.claim(second.turn_id, worker="w", model="m") is None
    change = attempts.complete(story.claim(first.turn_id), step("one"))
    assert change.ready == second.turn_id
    claim = story.claim(second.turn_id)
    assert [m.content for m in story.history(claim.turn_id)] == ["1", "one", "2"]


def test_the_history_of_a_turn_has_nothing_of_later_turns(session: Session) -> None:
    first = accept(session, "1")
    accept(session, "2")
    assert [m.content for m in story.history(first.turn_id)] == ["1"]


def test_a_failed_turn_has_a_reason_and_keeps_its_text(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    attempts.fail(claim, code="model_truncated", text="Cut off.", result=step("Hal"))
    turn = Turn.objects.get(pk=claim.turn_id)
    assert (turn.status, turn.error_code, turn.error) == (TurnStatus.FAILED, "model_truncated", "Cut off.")
    partial = Message.objects.get(role="assistant")
    assert (partial.content, partial.interrupted) == ("Hal", True)
    assert kinds(session)[-2:] == ["message_added", "turn_failed"]


STALE: list[Callable[[Claim], object]] = [
    lambda claim: attempts.complete(claim, step("Hello")),
    lambda claim: attempts.fail(claim, code="x", text="x"),
    lambda claim: attempts.release(claim),
    lambda claim: tool_calls.request_tools(claim, step("Hello"), [read_call("c")]),
]


@pytest.mark.parametrize("write", STALE)
def test_an_attempt_that_was_replaced_can_write_nothing(session: Session, write: Callable[[Claim], object]) -> None:
    old = story.claim(accept(session).turn_id)
    expire(old.turn_id)
    recovery.recover(old.turn_id)
    new = story.claim(old.turn_id)
    assert new.attempt == 2
    before = log.since(session.pk, 0)
    with pytest.raises(StaleAttempt):
        write(old)
    addition = Addition(session_id=session.pk, turn_id=old.turn_id, attempt=1, events=(delta(old.turn_id),))
    assert log.append_all([addition]) == Appended(stale={old.key})
    assert log.since(session.pk, 0) == before
    assert attempts.renew([old.key, new.key]) == {old.key}
    assert attempts.renew([new.key]) == set()


@pytest.mark.parametrize("write", STALE)
def test_a_turn_that_has_ended_stays_as_it_is(session: Session, write: Callable[[Claim], object]) -> None:
    claim = story.claim(accept(session).turn_id)
    attempts.complete(claim, step("Hello"))
    before = log.since(session.pk, 0)
    with pytest.raises(StaleAttempt):
        write(claim)
    assert log.since(session.pk, 0) == before


def delta(turn_id: uuid.UUID, text: str = "x") -> NewEvent:
    payload = {"turn_id": str(turn_id), "message_id": "m", "text": text}
    return NewEvent(kind=EventKind.TEXT_DELTA, turn_id=turn_id, payload=payload, attempt=1)


def test_events_of_many_turns_are_numbered_without_gaps(alice: User) -> None:
    sessions = [open_session(alice.pk, f"s{i}") for i in range(5)]
    claims = [story.claim(accept(session).turn_id) for session in sessions]
    for _ in range(3):
        additions = [
            Addition(session_id=h.session_id, turn_id=h.turn_id, attempt=1, events=(delta(h.turn_id), delta(h.turn_id)))
            for h in claims
        ]
        appended = log.append_all(additions)
        assert (len(appended.events), appended.stale, appended.skipped) == (10, set(), set())
    for session in sessions:
        numbers = [event.number for event in log.since(session.pk, 0)]
        assert numbers == list(range(1, 4 + 1 + 6))
        session.refresh_from_db()
        assert session.last_number == numbers[-1]


def test_a_batch_that_is_written_again_is_written_once(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    addition = Addition(session_id=session.pk, turn_id=claim.turn_id, attempt=1, events=(delta(claim.turn_id, "a"),))
    first = log.append_all([addition])
    assert log.append_all([addition], is_retry=True) == first
    assert kinds(session).count("text_delta") == 1


def test_a_batch_of_many_turns_costs_few_queries(alice: User, django_assert_max_num_queries: object) -> None:
    claims = [story.claim(accept(open_session(alice.pk, f"s{i}")).turn_id) for i in range(20)]
    additions = [
        Addition(session_id=h.session_id, turn_id=h.turn_id, attempt=1, events=(delta(h.turn_id),)) for h in claims
    ]
    with django_assert_max_num_queries(6):  # type: ignore[operator]
        log.append_all(additions)


def test_tools_keep_the_turn_waiting_until_the_last_result(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    calls = [read_call(name) for name in ("a", "b")]
    tool_calls.request_tools(claim, step("Looking."), calls)
    assert status(claim.turn_id) == TurnStatus.WAITING
    assert tool_calls.record_tool_result(session.pk, "b", content='"B"', failed=False).ready is None
    change = tool_calls.record_tool_result(session.pk, "a", content="Error: no", failed=True)
    assert change.ready == claim.turn_id
    assert status(claim.turn_id) == TurnStatus.QUEUED
    again = story.claim(claim.turn_id)
    assert (again.attempt, again.spent.steps) == (2, 1)
    history = story.history(claim.turn_id)
    assert [(m.role, m.content) for m in history[1:]] == [
        ("assistant", "Looking."),
        ("tool", '"B"'),
        ("tool", "Error: no"),
    ]
    assert [call.id for call in history[1].tool_calls] == ["a", "b"]


def test_a_tool_result_is_taken_once(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    tool_calls.request_tools(claim, step(""), [read_call("a")])
    tool_calls.record_tool_result(session.pk, "a", content="1", failed=False)
    before = log.since(session.pk, 0)
    with pytest.raises(ToolCallRejected) as twice:
        tool_calls.record_tool_result(session.pk, "a", content="2", failed=False)
    with pytest.raises(ToolCallRejected) as unknown:
        tool_calls.record_tool_result(session.pk, "zzz", content="2", failed=False)
    assert (twice.value.code, unknown.value.code) == ("tool_call_finished", "unknown_tool_call")
    assert ToolCall.objects.get().result == "1"
    assert log.since(session.pk, 0) == before


def test_a_result_for_another_users_session_is_unknown(session: Session, bob: User) -> None:
    tool_calls.request_tools(story.claim(accept(session).turn_id), step(""), [read_call("a")])
    foreign = open_session(bob.pk, "notes")
    with pytest.raises(ToolCallRejected):
        tool_calls.record_tool_result(foreign.pk, "a", content="1", failed=False)


def test_providers_that_number_their_calls_from_zero_do_not_mix_them_up(session: Session) -> None:
    for _ in range(2):
        claim = story.claim(accept(session).turn_id)
        tool_calls.request_tools(claim, step(""), [read_call("call_0")])
        call_id = ToolCall.objects.get(turn=claim.turn_id).call_id
        tool_calls.record_tool_result(session.pk, call_id, content="1", failed=False)
        attempts.complete(story.claim(claim.turn_id), step("done"))
    assert len(set(ToolCall.objects.values_list("call_id", flat=True))) == 2


def test_a_released_turn_is_ready_for_another_worker(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    assert attempts.release(claim).ready == claim.turn_id
    assert story.claim(claim.turn_id).attempt == 2


def test_a_lost_lease_brings_the_turn_on_and_the_third_one_ends_it(session: Session) -> None:
    turn_id = accept(session).turn_id
    for _ in range(2):
        story.claim(turn_id)
        assert turn_id not in recovery.expired_turns()
        expire(turn_id)
        assert turn_id in recovery.expired_turns()
        assert recovery.recover(turn_id).ready == turn_id
    story.claim(turn_id)
    expire(turn_id)
    recovery.recover(turn_id)
    turn = Turn.objects.get(pk=turn_id)
    assert (turn.status, turn.error_code) == (TurnStatus.FAILED, "too_many_attempts")
    assert turn.error


def test_a_finished_step_forgives_lost_leases(session: Session) -> None:
    turn_id = accept(session).turn_id
    for i in range(4):
        story.claim(turn_id)
        expire(turn_id)
        recovery.recover(turn_id)
        call = read_call(str(i))
        tool_calls.request_tools(story.claim(turn_id), step(""), [call])
        tool_calls.record_tool_result(session.pk, str(i), content="1", failed=False)
    assert status(turn_id) == TurnStatus.QUEUED


def test_an_unclaimed_turn_is_found_when_it_is_next_in_its_session(session: Session) -> None:
    first, second = accept(session), accept(session)
    assert recovery.unclaimed_turns(10) == []
    Turn.objects.update(queued_at=timezone.now() - recovery.TASK_TIMEOUT)
    assert recovery.unclaimed_turns(10) == [first.turn_id]
    attempts.complete(story.claim(first.turn_id), step("Hello"))
    assert recovery.unclaimed_turns(10) == [second.turn_id]
    assert recovery.unclaimed_turns(0) == []
    attempts.claim(second.turn_id, worker="w", model="m")
    assert recovery.unclaimed_turns(10) == []


def test_the_time_of_all_attempts_counts_and_the_time_of_tools_does_not(session: Session) -> None:
    turn_id = accept(session).turn_id

    def passes(seconds: int) -> None:
        Turn.objects.filter(pk=turn_id).update(claimed_at=timezone.now() - timedelta(seconds=seconds))

    story.claim(turn_id)
    passes(100)
    expire(turn_id)
    recovery.recover(turn_id)
    claim = story.claim(turn_id)
    passes(10)
    tool_calls.request_tools(claim, step(""), [read_call("a")])
    passes(1000)
    tool_calls.record_tool_result(session.pk, "a", content="1", failed=False)
    # And the time that the test takes.
    assert 110 <= story.claim(turn_id).spent.seconds < 200


def test_a_tool_that_never_answers_ends_the_turn(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    behind = accept(session)
    tool_calls.request_tools(claim, step(""), [read_call("a")])
    Turn.objects.filter(pk=claim.turn_id).update(waiting_since=timezone.now() - timedelta(days=2))
    assert recovery.expired_turns() == [claim.turn_id]
    assert recovery.recover(claim.turn_id).ready == behind.turn_id
    assert Turn.objects.get(pk=claim.turn_id).error_code == "tool_timed_out"
    sent = replay(story.history(behind.turn_id))
    assert [message.role for message in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[2].content == NO_RESULT


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_the_same_moment_get_one_turn_between_them(alice: User) -> None:
    session = open_session(alice.pk, "race")
    for _ in range(10):
        turn_id = accept(session).turn_id

        def race(name: str, turn_id: uuid.UUID = turn_id) -> Claim | None:
            try:
                claimed = attempts.claim(turn_id, worker=name, model="m")
                return claimed and claimed[0]
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            won = [claim for claim in pool.map(race, "abcd") if claim]
        assert len(won) == 1
        attempts.complete(won[0], step("Hello"))


@pytest.mark.django_db(transaction=True)
def test_messages_from_many_sockets_get_numbers_without_gaps(alice: User) -> None:
    session = open_session(alice.pk, "crowd")

    def send(i: int) -> AcceptedMessage:
        try:
            return accept(session, str(i))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(40)))
    numbers = [event.number for event in log.since(session.pk, 0)]
    assert numbers == list(range(1, 82))


@contextmanager
def frozen_inside_a_transaction(session: Session) -> Iterator[None]:
    """Keep the session locked by a thread that does nothing more."""
    locked, thaw = threading.Event(), threading.Event()

    def freeze() -> None:
        try:
            with suppress(OperationalError), transaction.atomic():
                log.lock(session.pk)
                locked.set()
                thaw.wait(60)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(freeze)
        assert locked.wait(60)
        try:
            yield
        finally:
            thaw.set()


@pytest.mark.django_db(transaction=True)
def test_a_locked_session_does_not_delay_the_recovery_of_others(alice: User) -> None:
    session = open_session(alice.pk, "locked")
    claim = story.claim(accept(session).turn_id)
    expire(claim.turn_id)
    with frozen_inside_a_transaction(session):
        started = time.monotonic()
        assert recovery.recover(claim.turn_id) == Change()
        assert time.monotonic() - started < 4, "it waited for the lock, which is refused after 5 s"
        assert recovery.expired_turns() == [claim.turn_id]
    assert recovery.recover(claim.turn_id).ready == claim.turn_id


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick_locks")
def test_a_process_that_freezes_in_a_transaction_loses_it_before_others_time_out(alice: User) -> None:
    session = open_session(alice.pk, "frozen")
    with frozen_inside_a_transaction(session):
        assert accept(session).number == 3


def test_the_database_itself_refuses_impossible_turns(session: Session) -> None:
    first, second = accept(session), accept(session)
    story.claim(first.turn_id)
    later = timezone.now()
    impossible: list[dict[str, Any]] = [
        {"status": "running", "lease_expires_at": later},
        {"status": "running"},
        {"status": "dreaming"},
        {"status": "completed"},
        {"finished_at": later},
        {"status": "failed", "finished_at": later},
    ]
    for fields in impossible:
        with pytest.raises(IntegrityError), transaction.atomic():
            Turn.objects.filter(pk=second.turn_id).update(**fields)


def test_only_one_module_writes_a_turns_status() -> None:
    sources = Path(attempts.__file__).parents[1].rglob("*.py")
    writers = {
        path.name for path in sources if re.search(r"(update|create)\([^)]*\bstatus=", path.read_text(encoding="utf-8"))
    }
    # The fold writes values in memory, the replays their own rows.
    assert writers == {"transitions.py", "fold.py", "replays.py"}


def test_the_same_client_message_id_is_the_same_message(session: Session, bob: User) -> None:
    first = inbox.accept_message(session.pk, "Hi", client_message_id="m1")
    again = inbox.accept_message(session.pk, "Hi", client_message_id="m1")
    assert (again.message_id, again.turn_id, again.number) == (first.message_id, first.turn_id, first.number)
    assert again.repeated
    assert not first.repeated
    assert again.events == []
    assert again.ready is None
    assert Message.objects.count() == 1
    other = open_session(bob.pk, "notes")
    assert not inbox.accept_message(other.pk, "Hi", client_message_id="m1").repeated
    assert not inbox.accept_message(session.pk, "Hi", client_message_id=None).repeated


@pytest.mark.parametrize("state", ["queued", "running", "waiting"])
def test_a_turn_is_cancelled_whatever_it_is_doing(session: Session, state: str) -> None:
    turn_id, behind = accept(session).turn_id, accept(session)
    if state != "queued":
        claim = story.claim(turn_id)
        log.append_all([addition(claim, "Hel"), addition(claim, "lo")])
    if state == "waiting":
        tool_calls.request_tools(claim, step("Hello"), [read_call("a")])
    change = attempts.cancel(session.pk, None)
    assert status(turn_id) == TurnStatus.CANCELLED
    assert change.ready == behind.turn_id
    assert change.events[-1].kind == EventKind.TURN_CANCELLED
    if state == "running":
        partial = Message.objects.get(role="assistant")
        assert (partial.content, partial.interrupted) == ("Hello", True)
        before = log.since(session.pk, 0)
        assert log.append_all([addition(claim, " there")]) == Appended(stale={claim.key})
        assert log.since(session.pk, 0) == before
    if state == "waiting":
        with pytest.raises(ToolCallRejected):
            tool_calls.record_tool_result(session.pk, "a", content="1", failed=False)
    assert [m.role for m in story.history(behind.turn_id)][-1] == "user"
    with pytest.raises(NothingToCancel):
        attempts.cancel(session.pk, turn_id)


def addition(claim: Claim, text: str) -> Addition:
    payload = {"turn_id": str(claim.turn_id), "message_id": str(uuid.UUID(int=7)), "text": text}
    event = NewEvent(kind=EventKind.TEXT_DELTA, turn_id=claim.turn_id, payload=payload, attempt=claim.attempt)
    return Addition(session_id=claim.session_id, turn_id=claim.turn_id, attempt=claim.attempt, events=(event,))


def test_only_a_turn_of_this_session_can_be_cancelled(session: Session, bob: User) -> None:
    foreign = accept(open_session(bob.pk, "notes"))
    with pytest.raises(NothingToCancel):
        attempts.cancel(session.pk, foreign.turn_id)
    assert status(foreign.turn_id) == TurnStatus.QUEUED


def test_a_queued_turn_can_be_withdrawn_by_its_id(session: Session) -> None:
    first, second, third = accept(session), accept(session), accept(session)
    attempts.cancel(session.pk, second.turn_id)
    change = attempts.complete(story.claim(first.turn_id), step("Hello"))
    assert change.ready == third.turn_id


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick_locks")
def test_a_process_that_freezes_with_a_session_locked_delays_others_only_briefly(alice: User) -> None:
    session = open_session(alice.pk, "frozen")
    turn_id = accept(session).turn_id
    locked, is_stopped = threading.Event(), threading.Event()

    def freeze() -> None:
        try:
            with pytest.raises(DatabaseError), transaction.atomic():
                log.lock(session.pk)
                locked.set()
                is_stopped.wait(20)
                log.lock(session.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        frozen = pool.submit(freeze)
        assert locked.wait(60)
        attempts.cancel(session.pk, None)
        # After 0.7 s, and more on a busy machine; the frozen one would have kept it for 20.
        assert not frozen.done()
        is_stopped.set()
        frozen.result()
    assert status(turn_id) == TurnStatus.CANCELLED


def test_a_long_conversation_is_made_to_fit_and_the_newest_request_stays(session: Session) -> None:
    for i in range(12):
        claim = story.claim(accept(session, f"question {i} " + "lorem ipsum " * 200).turn_id)
        attempts.complete(claim, step(f"answer {i} " + "dolor sit " * 200))
    claim = story.claim(accept(session, "the newest").turn_id)
    whole, _ = prompt.model_input(claim.turn_id, "coder", Window(tokens=200_000))
    fitted, _ = prompt.model_input(claim.turn_id, "coder", Window(tokens=20_000))
    assert len(whole) == 1 + 25
    assert len(fitted) < len(whole)
    assert fitted[-1].content == whole[-1].content == "the newest"
    assert "Earlier in this conversation" in fitted[0].content
    with pytest.raises(ModelContextTooLong):
        prompt.model_input(claim.turn_id, "coder", Window(tokens=9_000))


def test_reasoning_is_kept_and_no_model_gets_it_again(session: Session) -> None:
    claim = story.claim(accept(session).turn_id)
    attempts.fail(
        claim, code="model_stalled", text="Silent.", result=StepResult(message_id=new_id(), text="", reasoning="Hm.")
    )
    assert Message.objects.get(role="assistant").reasoning == "Hm."
    behind = story.claim(accept(session, "go on").turn_id)
    assert [(m.role, m.content) for m in story.history(behind.turn_id)][1:] == [("user", "go on")]


def test_a_turn_names_the_model_that_its_agent_asks_first(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROLES, "coder", ROLES["coder"].model_copy(update={"models": ("openai/own", "openai/other")}))
    session = open_session(alice.pk, "named")
    Session.objects.filter(pk=session.pk).update(current_agent="coder")

    claim = story.begin(session, model="openai/default")

    started = log.since(session.pk, 0)[-1]
    assert (started.kind, started.payload["model"], started.payload["agent"]) == ("turn_started", "openai/own", "coder")
    assert Turn.objects.get(pk=claim.turn_id).model == "openai/own"
    attempts.complete(claim, step("Done."))

    # An agent without models of its own asks the server's.
    Session.objects.filter(pk=session.pk).update(current_agent="ask")
    claim = story.begin(session, model="openai/default")
    assert log.since(session.pk, 0)[-1].payload["model"] == "openai/default"

    # The orchestrator's choice changes the model that is asked.
    route = Route(agent="coder", confidence=Confidence.HIGH, reason="It writes code.")
    attempts.assign_agent(claim, AgentChoice(route=route))
    assert Turn.objects.get(pk=claim.turn_id).model == "openai/own"
