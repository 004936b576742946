"""A call that was shown to a client is never shown to another one; a person decides when that client is gone."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from sessions.api.websocket.snapshot import snapshot
from sessions.models import Message, Session, ToolCall, ToolCallStatus, Turn, Via, WebProcess
from sessions.turns import approvals, attempts, call_offers, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.sessions import open_session
from tests.sessions import story
from tests.sessions.calls import read_call, write_call

HERE, THERE = uuid.uuid4(), uuid.uuid4()
BOTH = ("read", "write")


@pytest.fixture
def session(session: Session) -> Session:
    """A session with a call that may run and one that requires approval."""
    story.request(session, read_call("read"), write_call("write"))
    for process in (HERE, THERE):
        call_offers.beat(process, [])
    return session


def calls_of(
    session: Session,
    runner: str,
    *,
    process: uuid.UUID = HERE,
    new_approvals: Collection[str] = BOTH,
    takes_over: bool = False,
) -> list[str]:
    calls, _ = call_offers.offer(session.pk, runner, process, new_approvals=new_approvals, takes_over=takes_over)
    return [call.call_id for call in calls]


def let_time_pass() -> None:
    """Let every client that is away be away for longer than it may."""
    away = ToolCall.objects.filter(offered_until__isnull=False)
    away.update(offered_until=Now() - timedelta(seconds=1))


def ask() -> list[str]:
    """Ask users about lost calls; return the kinds of the events."""
    changes = [call_offers.ask_again(call_id) for call_id in call_offers.lost_calls()]
    return [str(event.kind) for change in changes for event in change.events]


def decision(session: Session, *, approve: bool) -> Decision:
    return Decision(approve=approve, by=session.owner_id, via=Via.REST)


def test_a_shown_call_is_never_shown_to_another_runner(session: Session) -> None:
    assert calls_of(session, "first") == ["read", "write"]
    assert calls_of(session, "second") == []
    call_offers.release(session.pk, "first", HERE, BOTH)
    # The approval is a question, and another client may ask it. The call that may run was shown.
    assert calls_of(session, "second") == ["write"]
    assert calls_of(session, "first") == ["read"]


def test_a_client_of_the_same_name_in_another_session_releases_nothing_here(session: Session, bob: User) -> None:
    assert calls_of(session, "editor") == ["read", "write"]
    call_offers.release(open_session(bob.pk, "offers").pk, "editor", HERE, BOTH)
    assert calls_of(session, "another") == []


def test_two_sockets_of_a_runner_are_told_once_and_the_one_that_comes_back_is_told_again(session: Session) -> None:
    assert calls_of(session, "editor") == ["read", "write"]
    assert calls_of(session, "editor", process=THERE) == []
    assert calls_of(session, "editor", process=THERE, takes_over=True) == ["read", "write"]
    # The end of the old socket is noticed after that of its successor began.
    call_offers.release(session.pk, "editor", HERE, BOTH)
    assert ToolCall.objects.filter(offered_by=THERE, offered_until=None).count() == 2


def test_the_other_window_of_a_runner_keeps_its_calls(session: Session) -> None:
    calls_of(session, "editor")
    call_offers.release(session.pk, "editor", HERE, BOTH)
    assert call_offers.beat(THERE, [session.pk]) == {session.pk}
    assert calls_of(session, "editor", process=THERE) == ["read", "write"]
    let_time_pass()
    assert ask() == []


def test_a_client_that_asks_no_user_gets_only_calls_that_may_run(session: Session) -> None:
    assert calls_of(session, "editor", new_approvals=()) == ["read"]
    assert calls_of(session, "window") == ["write"]


def test_no_call_is_offered_after_all_have_results(session: Session) -> None:
    for call_id in BOTH:
        tool_calls.record_tool_result(session.pk, call_id, content="1", failed=False)
    assert call_offers.offer(session.pk, "first", HERE, new_approvals=(), takes_over=True) == ([], set())


def test_waiting_for_a_client_or_its_user_writes_nothing(session: Session) -> None:
    calls_of(session, "editor")
    with CaptureQueriesContext(connection) as queries:
        assert calls_of(session, "editor") == ["read", "write"]
        assert call_offers.beat(HERE, [session.pk]) == set()
    written = [query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "INSERT"))]
    # One row of the process, and the look for processes that are gone, which finds none.
    assert len([sql for sql in written if "agent_sessions_webprocess" in sql.split(" SET ")[0]]) == 1
    assert len([sql for sql in written if "agent_sessions_toolcall" in sql.split(" SET ")[0]]) == 1


def test_a_client_that_does_not_come_back_leaves_the_decision_to_its_user(session: Session) -> None:
    calls_of(session, "first", new_approvals=())
    call_offers.release(session.pk, "first", HERE, BOTH)
    assert ask() == []
    let_time_pass()
    assert ask() == ["tool_call_requested"]
    assert ask() == []
    [call] = [call for call in snapshot(session.pk)["tool_calls"] if call["call_id"] == "read"]
    assert (call["requires_approval"], call["unknown"]) == (True, True)
    assert "not known whether this call ran" in call["reason"]
    assert [row.call.call_id for row in approvals.pending(session.pk)] == ["write", "read"]
    assert calls_of(session, "second", new_approvals=()) == []


def test_a_lost_call_that_its_user_lets_run_again_goes_to_any_client(session: Session) -> None:
    lose(session)
    approvals.decide(session.pk, "read", decision(session, approve=True))
    assert calls_of(session, "second", new_approvals=()) == ["read"]
    tool_calls.record_tool_result(session.pk, "read", content="1", failed=False)
    assert ToolCall.objects.get(call_id="read").status == ToolCallStatus.COMPLETED


def test_a_lost_call_that_its_user_does_not_let_run_again_ends_as_unknown(session: Session) -> None:
    lose(session)
    approvals.decide(session.pk, "read", decision(session, approve=False))
    call = ToolCall.objects.get(call_id="read")
    assert call.status == ToolCallStatus.UNKNOWN
    assert "not known whether" in Message.objects.get(tool_call_id="read").content


def test_a_late_result_of_a_lost_call_answers_the_question(session: Session) -> None:
    lose(session)
    tool_calls.record_tool_result(session.pk, "read", content="1", failed=False)
    assert ToolCall.objects.get(call_id="read").status == ToolCallStatus.COMPLETED
    with pytest.raises(Exception, match="already has a result"):
        approvals.decide(session.pk, "read", decision(session, approve=True))


def test_a_stopped_turn_ends_its_lost_call_as_unknown(session: Session) -> None:
    lose(session)
    attempts.cancel(session.pk, None)
    assert ToolCall.objects.get(call_id="read").status == ToolCallStatus.UNKNOWN
    assert ToolCall.objects.get(call_id="write").status == ToolCallStatus.REJECTED


def test_the_calls_of_a_killed_web_process_wait_for_their_clients(session: Session) -> None:
    calls_of(session, "first")
    WebProcess.objects.filter(pk=HERE).update(seen_at=Now() - 2 * call_offers.PROCESS_TIMEOUT)
    # The approval can be asked for elsewhere at once.
    assert call_offers.beat(THERE, [session.pk]) == {session.pk}
    assert calls_of(session, "second", process=THERE) == ["write"]
    # A process that was only frozen takes its calls back.
    assert calls_of(session, "first") == ["read"]
    let_time_pass()
    assert ask() == []


def test_a_client_of_the_openai_compatible_api_keeps_what_it_was_shown(session: Session) -> None:
    turn = Turn.objects.get(session=session)
    assert [call.call_id for call in call_offers.offer_to_request(turn.pk, ["read_file", "write_file"])] == ["read"]
    let_time_pass()
    assert calls_of(session, "editor", new_approvals=()) == []
    assert [call.call_id for call in call_offers.offer_to_request(turn.pk, ["read_file"])] == ["read"]
    let_time_pass()
    assert ask() == ["tool_call_requested"]


def test_what_a_socket_was_shown_is_not_given_to_the_openai_compatible_api(session: Session) -> None:
    calls_of(session, "editor", new_approvals=())
    call_offers.release(session.pk, "editor", HERE, BOTH)
    turn = Turn.objects.get(session=session)
    assert list(call_offers.offer_to_request(turn.pk, ["read_file"])) == []


def lose(session: Session) -> None:
    calls_of(session, "first", new_approvals=())
    call_offers.release(session.pk, "first", HERE, BOTH)
    let_time_pass()
    assert ask() == ["tool_call_requested"]


@pytest.mark.django_db(transaction=True)
def test_of_many_runners_at_the_same_moment_one_gets_each_call(session: Session) -> None:
    def offer(runner: str) -> list[str]:
        try:
            return calls_of(session, runner)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        offered = list(pool.map(offer, [f"runner {i}" for i in range(8)]))
    assert sorted(call for calls in offered for call in calls) == ["read", "write"]


@pytest.mark.django_db(transaction=True)
def test_a_client_that_is_back_while_its_user_is_about_to_be_asked_keeps_its_call(session: Session) -> None:
    calls_of(session, "editor", new_approvals=())
    call_offers.release(session.pk, "editor", HERE, BOTH)
    let_time_pass()
    (call_id,) = call_offers.lost_calls()
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    with psycopg.connect(**{name: parameters[name] for name in names}) as other, ThreadPoolExecutor(1) as recovery:
        # What `offer` writes, not yet committed.
        other.execute("UPDATE agent_sessions_toolcall SET offered_until = NULL WHERE id = %s", [call_id])
        asking = recovery.submit(ask_and_close, call_id)
        time.sleep(0.5)
        other.commit()
        assert asking.result() == []
    assert ToolCall.objects.get(pk=call_id).status == ToolCallStatus.WAITING


def ask_and_close(call_id: uuid.UUID) -> list[str]:
    try:
        return [str(event.kind) for event in call_offers.ask_again(call_id).events]
    finally:
        connections.close_all()
