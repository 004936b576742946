from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from sessions.api.websocket import tool_offers
from sessions.models import Session, ToolCall
from sessions.turns import tool_calls
from sessions.turns.sessions import open_session
from tests.sessions import story
from tests.sessions.calls import read_call, write_call


@pytest.fixture
def session(session: Session) -> Session:
    """A session with a call that may run and one that a person must allow."""
    story.request(session, read_call("read"), write_call("write"))
    return session


def held_by(session: Session, runner: str, *, asking: Collection[str] = ("read", "write")) -> list[str]:
    calls, _ = tool_offers.hold(session.pk, runner, asking=asking)
    return [call.call_id for call in calls]


def test_one_runner_has_a_call_until_it_lets_go(session: Session) -> None:
    assert held_by(session, "first") == ["read", "write"]
    assert held_by(session, "second") == []
    tool_offers.let_go(session.pk, "first")
    assert held_by(session, "second") == ["read", "write"]


def test_a_client_of_the_same_name_elsewhere_lets_nothing_go_here(session: Session, bob: User) -> None:
    assert held_by(session, "editor") == ["read", "write"]
    tool_offers.let_go(open_session(bob.pk, "offers").pk, "editor")
    assert held_by(session, "another") == []


def test_a_runner_that_keeps_silent_loses_its_calls(session: Session) -> None:
    assert held_by(session, "first") == ["read", "write"]
    ToolCall.objects.update(offered_until=timezone.now() - timedelta(seconds=1))
    assert held_by(session, "second") == ["read", "write"]
    assert held_by(session, "first") == []


def test_who_does_not_ask_people_gets_what_may_run(session: Session) -> None:
    assert held_by(session, "editor", asking=()) == ["read"]
    assert held_by(session, "window") == ["write"]


def test_nothing_is_held_when_all_is_done(session: Session) -> None:
    for call_id in ("read", "write"):
        tool_calls.record_tool_result(session.pk, call_id, content="1", failed=False)
    assert tool_offers.hold(session.pk, "first", asking=()) == ([], False)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_moment_one_gets_each_call(session: Session) -> None:
    def take(runner: str) -> list[str]:
        try:
            return held_by(session, runner)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, [f"runner {i}" for i in range(8)]))
    assert sorted(call for calls in taken for call in calls) == ["read", "write"]
