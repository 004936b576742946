from __future__ import annotations

from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries

from sessions.billing import usage
from sessions.events import log
from sessions.events.log import NewEvent
from sessions.models import PIECES
from sessions.turns import inbox
from sessions.turns.sessions import open_session


def test_the_audit_log_leaves_pieces_of_text_out(alice: User) -> None:
    session = open_session(alice.pk, "s")
    piece = {"turn_id": "t", "message_id": "m", "text": "Hm"}
    log.append(session, [NewEvent(kind=kind, payload=piece) for kind in PIECES])
    inbox.accept_message(session.pk, "x")
    kinds = [entry["event_type"] for entry in usage.audit_log([session], None, 100)]
    assert kinds == ["turn_queued", "message_added", "agent_switched"]


def test_the_audit_log_of_many_sessions_takes_two_queries(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    sessions = [open_session(alice.pk, key) for key in ("a", "b", "c")]
    for session in sessions:
        inbox.accept_message(session.pk, "x")
    with django_assert_num_queries(2):
        entries = usage.audit_log(usage.audited(alice.pk), None, 8)
    assert [entry["session_id"] for entry in entries] == ["c"] * 3 + ["b"] * 3 + ["a"] * 2
    assert [entry["number"] for entry in entries] == [3, 2, 1, 3, 2, 1, 3, 2]
    assert [entry["session_id"] for entry in usage.audit_log(sessions, "turn_queued", 2)] == ["c", "b"]
