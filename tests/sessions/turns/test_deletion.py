"""Deleting sessions and users: gone at once, their rows in small transactions, the ledger stays."""

from __future__ import annotations

import math

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sessions.errors import StaleAttempt
from sessions.events import log
from sessions.models import (
    Approval,
    Completion,
    Event,
    Image,
    Message,
    ModelCall,
    Plan,
    Project,
    Session,
    SubTask,
    ToolCall,
    Turn,
)
from sessions.results import Claim
from sessions.turns import attempts, deletion, inbox
from sessions.turns.sessions import open_in_project, open_session, owned_session
from tests.sessions import story
from tests.sessions.calls import read_call

pytestmark = pytest.mark.django_db(transaction=True)

ROWS: tuple[type[Model], ...] = (Approval, Completion, Event, Image, Message, Plan, SubTask, ToolCall, Turn)


def converse(session: Session) -> Claim:
    """One answered turn, one that waits for a tool, and one behind it."""
    attempts.complete(story.begin(session), story.step("Done."))
    held = story.request(session, read_call("a"))
    inbox.accept_message(session.pk, "And then?")
    return held


def count_rows() -> int:
    return sum(model._base_manager.count() for model in ROWS)


def test_a_deleted_session_is_gone_for_everybody_at_once(alice: User) -> None:
    session = open_session(alice.pk, "s")
    held = converse(session)
    change = deletion.delete_session(session.pk)
    assert change.events[-1].kind == "session_deleted"
    assert change.events[-1].payload == {"session_id": "s"}
    assert owned_session(alice.pk, "s") is None
    assert not Session.objects.exists()
    assert not Turn.objects.filter(status__in=["queued", "running", "waiting"]).exists()
    with pytest.raises(Session.DoesNotExist):
        log.lock(session.pk)
    with pytest.raises(StaleAttempt):
        attempts.complete(held, story.step("too late"))
    again = open_session(alice.pk, "s")
    assert (again.pk != session.pk, again.last_number) == (True, 0)


def test_rows_of_a_deleted_session_go_in_small_transactions(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "OWNED", tuple((model, path, 3) for model, path, _ in deletion.OWNED))
    session, other = open_session(alice.pk, "s"), open_session(alice.pk, "other")
    converse(other)
    kept = count_rows()
    converse(session)
    deletion.delete_session(session.pk)
    transactions = 0
    while True:
        before = count_rows()
        with CaptureQueriesContext(connection):
            more = deletion.delete_piece(session.pk)
        assert before - count_rows() <= 3
        transactions += 1
        if not more:
            break
    assert transactions > 5
    assert not Session.every.filter(pk=session.pk).exists()
    assert count_rows() == kept
    assert ModelCall.objects.filter(owner=alice, session=None).count() == 2


def test_tidy_deletes_what_a_process_that_died_has_left(alice: User) -> None:
    session = open_session(alice.pk, "s")
    converse(session)
    deletion.delete_session(session.pk)
    assert deletion.delete_piece(session.pk)
    assert deletion.delete_marked_sessions(math.inf) == 1
    assert not Session.every.exists()
    assert count_rows() == 0


def test_a_superuser_deletes_a_user_and_the_ledger_stays(alice: User, bob: User) -> None:
    User.objects.create_superuser("root", password="a long password of root")
    client = Client()
    client.login(username="root", password="a long password of root")
    project = Project.objects.create(owner=alice, name="p")
    for session in (open_session(alice.pk, "s"), open_in_project(project, [])):
        converse(session)
    converse(open_session(bob.pk, "s"))
    calls = ModelCall.objects.count()
    path = f"/admin/auth/user/{alice.pk}/delete/"
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path).status_code == 200
    # The page that asks whether to delete reads none of the user's rows.
    assert not any("agent_sessions_event" in query["sql"] and "payload" in query["sql"] for query in asked)
    assert client.post(path, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=alice.pk).exists()
    assert [session.owner for session in Session.objects.all()] == [bob]
    assert deletion.delete_marked_sessions(math.inf) == 2
    assert Session.every.count() == 1
    assert (ModelCall.objects.count(), ModelCall.objects.filter(owner=None).count()) == (calls, 4)
