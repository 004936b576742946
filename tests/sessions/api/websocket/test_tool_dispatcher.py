from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from sessions.api.websocket import tool_dispatcher
from sessions.models import Session, ToolCall
from sessions.turns import tool_calls
from sessions.turns.sessions import open_session
from tests.sessions import story
from tests.sessions.calls import read_call, write_call


@pytest.fixture
def session(session: Session) -> Session:
    """A session with a call that may run and one that requires approval."""
    story.request(session, read_call("read"), write_call("write"))
    return session


def calls_of(session: Session, runner: str, *, new_approvals: Collection[str] = ("read", "write")) -> list[str]:
    calls, _ = tool_dispatcher.lease_calls(session.pk, runner, new_approvals=new_approvals)
    return [call.call_id for call in calls]


def test_one_runner_has_a_call_until_it_releases_it(session: Session) -> None:
    assert calls_of(session, "first") == ["read", "write"]
    assert calls_of(session, "second") == []
    tool_dispatcher.release_calls(session.pk, "first")
    assert calls_of(session, "second") == ["read", "write"]


def test_a_client_of_the_same_name_in_another_session_releases_nothing_here(session: Session, bob: User) -> None:
    assert calls_of(session, "editor") == ["read", "write"]
    tool_dispatcher.release_calls(open_session(bob.pk, "offers").pk, "editor")
    assert calls_of(session, "another") == []


def test_a_runner_that_does_not_renew_its_leases_loses_its_calls(session: Session) -> None:
    assert calls_of(session, "first") == ["read", "write"]
    ToolCall.objects.update(offered_until=timezone.now() - timedelta(seconds=1))
    assert calls_of(session, "second") == ["read", "write"]
    assert calls_of(session, "first") == []


def test_a_client_that_asks_no_user_gets_only_calls_that_may_run(session: Session) -> None:
    assert calls_of(session, "editor", new_approvals=()) == ["read"]
    assert calls_of(session, "window") == ["write"]


def test_no_call_is_leased_after_all_have_results(session: Session) -> None:
    for call_id in ("read", "write"):
        tool_calls.record_tool_result(session.pk, call_id, content="1", failed=False)
    assert tool_dispatcher.lease_calls(session.pk, "first", new_approvals=()) == ([], False)


@pytest.mark.django_db(transaction=True)
def test_of_many_runners_at_the_same_moment_one_gets_each_call(session: Session) -> None:
    def lease(runner: str) -> list[str]:
        try:
            return calls_of(session, runner)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        leased = list(pool.map(lease, [f"runner {i}" for i in range(8)]))
    assert sorted(call for calls in leased for call in calls) == ["read", "write"]
