"""Summaries of what no longer fits a model's window: which one stands, and how a new one is stored.

A summary is stored in one transaction with its event and its model calls, so a worker that dies before has done
nothing, and one that dies afterwards leaves it for the next attempt. This module never calls a model and never changes
a turn's state.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llm.types import CallRecord, ModelMessage
from sessions.billing import ledger
from sessions.events import log
from sessions.models import EventKind, ModelCall, ModelCallOutcome, ModelCallPurpose, Session, SubTask, Summary, new_id
from sessions.results import Change, Claim
from sessions.statements import atomic
from sessions.turns.transitions import lock_claim, turn_event


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """Messages of a conversation that no longer fit, and the summary before them."""

    #: Oldest first.
    messages: tuple[ModelMessage, ...]
    earlier: Summary | None
    subtask_id: uuid.UUID | None
    #: The last of the messages, and its place in the conversation.
    until: uuid.UUID
    until_place: tuple[int, int, int]
    #: Messages up to there that still stand for themselves.
    kept: tuple[uuid.UUID, ...]
    #: Of the summary that will stand for them.
    summary_id: uuid.UUID = field(default_factory=new_id)


def newest(session: Session, subtask: SubTask | None) -> Summary | None:
    """Return the summary that stands for older messages, of a sub-task or of the conversation with the user."""
    if not session.is_summarized:
        return None
    return Summary.objects.filter(session=session, subtask=subtask).order_by("-number").first()


def newest_state(session: Session) -> dict[str, Any] | None:
    """Return the session's newest summary as its event has it."""
    summary = Summary.objects.filter(session=session).order_by("-number").first() if session.is_summarized else None
    return {"turn_id": str(summary.turn_id), **_payload(summary)} if summary else None


def has_failed(turn_id: uuid.UUID) -> bool:
    """Return whether a summary has failed in this turn: none is tried again before the next one."""
    failures = (ModelCallOutcome.FAILED, ModelCallOutcome.TRUNCATED)
    calls = ModelCall.objects.filter(turn=turn_id, purpose=ModelCallPurpose.SUMMARY, outcome__in=failures)
    return calls.exists()


def add(claim: Claim, overflow: Overflow, text: str, calls: Sequence[CallRecord]) -> Change:
    """Store a summary and the model calls that made it, once. Raises StaleAttempt."""
    earlier = overflow.earlier
    with atomic():
        session, turn = lock_claim(claim)
        if Summary.objects.filter(pk=overflow.summary_id).exists():
            # A try before was committed, and only its confirmation was lost.
            return Change()
        ledger.record(claim, session, turn, calls, purpose=ModelCallPurpose.SUMMARY)
        summary = Summary(
            id=overflow.summary_id,
            session=session,
            turn=turn,
            subtask_id=overflow.subtask_id,
            text=text,
            messages=len(overflow.messages) + (earlier.messages if earlier else 0),
            until=overflow.until,
            until_place=list(overflow.until_place),
            kept=[str(message_id) for message_id in overflow.kept],
        )
        events = log.append(session, [turn_event(EventKind.SUMMARY_ADDED, turn.pk, claim.attempt, **_payload(summary))])
        summary.number = events[0].number
        summary.save(force_insert=True)
        if not session.is_summarized:
            Session.objects.filter(pk=session.pk).update(is_summarized=True)
    return Change(events=events)


def record_failure(claim: Claim, calls: Sequence[CallRecord], error_code: str) -> None:
    """Store the model calls of a summary that has failed. Raises StaleAttempt."""
    with atomic():
        session, turn = lock_claim(claim)
        ledger.record(claim, session, turn, calls, purpose=ModelCallPurpose.SUMMARY, error_code=error_code)


def _payload(summary: Summary) -> dict[str, Any]:
    return {
        "summary_id": str(summary.pk),
        "text": summary.text,
        "messages": summary.messages,
        "until": str(summary.until),
    }
