"""Which summary stands for older messages."""

from __future__ import annotations

from uuid import UUID

from sessions.models import Message, ModelCall, Session, Summary
from sessions.turns import summaries
from sessions.turns.summaries import Overflow
from tests.sessions import story


def test_the_summary_that_was_stored_last_counts_whatever_the_clocks_of_workers_say(session: Session) -> None:
    claim = story.begin(session)
    message = Message.objects.get()
    for text in ("first", "second"):
        session.refresh_from_db()
        earlier = summaries.newest(session, None)
        overflow = Overflow(
            messages=(), earlier=earlier, subtask_id=None, until=message.pk, until_place=(1, 1, 1), kept=()
        )
        summaries.add(claim, overflow, text, ())
        if text == "first":
            # Its worker's clock is years ahead.
            Summary.objects.update(id=UUID(int=2**128 - 1))
    session.refresh_from_db()
    newest, state = summaries.newest(session, None), summaries.newest_state(session)
    assert newest
    assert state
    assert newest.text == state["text"] == "second"


def test_a_summary_whose_confirmation_was_lost_is_stored_once(session: Session) -> None:
    claim = story.begin(session)
    message = Message.objects.get()
    overflow = Overflow(messages=(), earlier=None, subtask_id=None, until=message.pk, until_place=(1, 1, 1), kept=())
    call = story.model_call()
    assert [event.kind for event in summaries.add(claim, overflow, "text", (call,)).events] == ["summary_added"]
    assert summaries.add(claim, overflow, "text", (call,)).events == []
    assert Summary.objects.count() == ModelCall.objects.count() == 1
