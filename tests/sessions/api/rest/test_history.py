"""The history comes in pages that are bounded by messages and by bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from sessions.api.http import MAX_COUNTED_MESSAGES
from sessions.api.rest import history
from sessions.errors import NotFound
from sessions.models import Message, MessageRole, Session, new_id
from sessions.turns import inbox
from sessions.turns.sessions import open_session


@pytest.fixture
def session(alice: User) -> Session:
    session = open_session(alice.pk, "long")
    inbox.accept_message(session.pk, "0")
    return session


def add(session: Session, count: int, content: str = "") -> None:
    turn, last = session.turns.get(), session.messages.order_by("-number")[0].number
    Message.objects.bulk_create(
        Message(
            id=new_id(),
            session=session,
            turn=turn,
            role=MessageRole.ASSISTANT,
            number=last + number,
            content=content or str(number),
        )
        for number in range(1, count + 1)
    )


def page(session: Session, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(history.as_json(history.history(session, **options)))
    return found


def contents(found: dict[str, Any]) -> list[str]:
    return [message["content"] for message in found["messages"]]


def test_pages_are_read_backwards_from_the_newest(session: Session) -> None:
    add(session, 9)
    newest = page(session, limit=4)
    assert (contents(newest), newest["has_more"], newest["message_count"]) == (["6", "7", "8", "9"], True, 10)
    older = page(session, limit=4, before=newest["messages"][0]["id"])
    assert (contents(older), older["has_more"]) == (["2", "3", "4", "5"], True)
    oldest = page(session, limit=4, before=older["messages"][0]["id"])
    assert (contents(oldest), oldest["has_more"]) == (["0", "1"], False)


def test_pages_are_read_forwards_after_a_message(session: Session) -> None:
    add(session, 5)
    first = page(session)["messages"][0]["id"]
    newer = page(session, limit=3, after=first)
    assert (contents(newer), newer["has_more"]) == (["1", "2", "3"], True)
    assert contents(page(session, after=newer["messages"][-1]["id"])) == ["4", "5"]


def test_a_page_has_about_two_mebibytes_and_at_least_one_message(session: Session) -> None:
    add(session, 4, "x" * 800_000)
    assert len(contents(page(session))) == 2
    add(session, 1, "y" * 3_000_000)
    found = page(session)
    assert (len(contents(found)), found["has_more"]) == (1, True)


def test_a_message_of_another_session_is_missing(session: Session, alice: User) -> None:
    other = open_session(alice.pk, "other")
    inbox.accept_message(other.pk, "theirs")
    with pytest.raises(NotFound):
        page(session, before=other.messages.get().pk)


def test_a_list_counts_no_further_than_it_must(session: Session, alice: User) -> None:
    add(session, 2 * MAX_COUNTED_MESSAGES)
    rows: Any = history.sessions_of(alice.pk)
    [(count, newest)] = rows.values_list("message_count", "last_message_at")
    assert count == MAX_COUNTED_MESSAGES
    assert newest == session.messages.order_by("-number")[0].created_at
