"""Titles that a model writes: which session needs one, and how it is stored.

A session is taken once, before its model is called. So a title is asked for once at most, whatever becomes of the
worker, and a title that the user writes is never replaced. This module never calls a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from llm.types import CallRecord
from sessions.billing import budgets, ledger
from sessions.events import log
from sessions.events.log import NewEvent
from sessions.models import EventKind, Message, MessageRole, ModelCall, ModelCallPurpose, Session, Turn
from sessions.results import Change, Claim
from sessions.statements import atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class Untitled:
    """A session whose title is the beginning of its first message."""

    title: str
    question: str
    answer: str


def take(claim: Claim) -> Untitled | None:
    """Return what the session of a turn is about, once; None when it needs no title any more."""
    with atomic():
        try:
            session = log.lock(claim.session_id)
        except Session.DoesNotExist:
            return None
        if not session.awaits_title:
            return None
        Session.objects.filter(pk=session.pk).update(awaits_title=False)
        said = Message.objects.filter(session=session, turn=claim.turn_id, withdrawn=False).exclude(content="")
        texts = {
            role: said.filter(role=role).order_by("number").values_list("content", flat=True).first() or ""
            for role in (MessageRole.USER, MessageRole.ASSISTANT)
        }
    return Untitled(title=session.title, question=texts[MessageRole.USER], answer=texts[MessageRole.ASSISTANT])


def store(
    claim: Claim, untitled: Untitled, title: str, calls: Sequence[CallRecord], *, paid: Decimal, error_code: str = ""
) -> Change:
    """Store the model calls that made a title, and the title unless the user has written one meanwhile.

    `paid` is what the budgets have counted ahead for the calls.
    """
    with atomic():
        try:
            session = log.lock(claim.session_id)
        except Session.DoesNotExist:
            return Change()
        if ModelCall.objects.filter(pk__in=[call.id for call in calls]).exists():
            # A try before was committed, and only its confirmation was lost.
            return Change()
        turn = Turn.objects.get(pk=claim.turn_id)
        cost = ledger.record_beside(claim, session, turn, calls, purpose=ModelCallPurpose.TITLE, error_code=error_code)
        if paid:
            budgets.correct(claim.budgets, cost - paid)
        if not title or session.title != untitled.title:
            return Change()
        session.title = title
        session.save(update_fields=["title"])
        payload = {"title": title, "mode": session.mode}
        return Change(events=log.append(session, [NewEvent(kind=EventKind.SESSION_CHANGED, payload=payload)]))
