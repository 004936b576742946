"""What waits for a person, and the answers: for a client that comes back, and for one without a socket."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.tools import CREATE_PLAN
from sessions.api.commands import announce, store_timeout
from sessions.api.http import ERRORS, ErrorOut, owned, owner, require_clean
from sessions.database import in_thread
from sessions.errors import InvalidField
from sessions.models import Approval, EventKind, Via
from sessions.protocol import MAX_CALL_ID_LENGTH, MAX_FEEDBACK_LENGTH
from sessions.turns import approvals
from sessions.turns.approvals import Decision

router = Router(tags=["approvals"])

ONE = "/sessions/{path:session_id}"
ANSWERS = {**ERRORS, 409: ErrorOut}
MANY = 100


class PendingApproval(Schema):
    """A call that waits for an answer; nothing here is null, because the original's editor casts all of it."""

    request_id: uuid.UUID
    request_type: str
    subject: str
    details: dict[str, Any]
    reason: str
    created_at: datetime
    expires_at: datetime
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    agent: str
    rule: str


class PendingApprovals(Schema):
    session_id: str
    pending_approvals: list[PendingApproval]
    count: int


class DecisionIn(Schema):
    """The answer to one call."""

    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    decision: Literal["approve", "edit", "reject"]
    modified_arguments: dict[str, Any] | None = Field(None, description="With `edit`: what it is to run with.")
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH, description="What the model is told.")
    reason: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH, description="The same, under another name.")


class BatchIn(Schema):
    """One answer for several calls: those that are named, or all."""

    decision: Literal["approve", "reject"]
    call_ids: list[str] | None = Field(None, min_length=1, max_length=MANY)
    all: bool = Field(False, description="Needed where no calls are named.")
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)
    reason: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH)


class Decided(Schema):
    """What was answered."""

    status: str = "success"
    session_id: str
    decision: str
    call_ids: list[str]
    count: int


@router.get(f"{ONE}/pending-approvals", response={200: PendingApprovals, **ERRORS})
async def list_pending_approvals(request: HttpRequest, session_id: str, plans: bool = False) -> PendingApprovals:
    """List the calls of a session that wait for an answer, the oldest first; plans only on demand."""
    session = await owned(request, session_id)

    def read() -> list[PendingApproval]:
        rows = approvals.pending(session.pk)
        # The original's editor would take a plan for a tool that it lacks, and answer with an error, which is a
        # rejection: it gets plans by their frames.
        return [_pending(row) for row in (rows if plans else rows.exclude(call__tool=CREATE_PLAN))]

    found = await in_thread(read)()
    return PendingApprovals(session_id=session.key, pending_approvals=found, count=len(found))


@router.post(f"{ONE}/hitl-decision", response={200: Decided, **ANSWERS})
async def decide(request: HttpRequest, session_id: str, body: DecisionIn) -> Decided:
    """Answer a call that waits: let it run, let it run with other arguments, or not at all. The first answer wins."""
    arguments = body.modified_arguments if body.decision == "edit" else None
    if body.decision == "edit" and arguments is None:
        raise InvalidField("An `edit` needs `modified_arguments` to run the call with.")
    answer = _answer(request, approve=body.decision != "reject", arguments=arguments, feedback=_said(body))
    return await _store(request, session_id, body.decision, [body.call_id], answer)


@router.post(f"{ONE}/approvals", response={200: Decided, **ANSWERS})
async def decide_many(request: HttpRequest, session_id: str, body: BatchIn) -> Decided:
    """Answer several calls at once: all of them or, when one of them waits no longer, none."""
    if body.call_ids is None and not body.all:
        raise InvalidField("Name the calls in `call_ids`, or say `all`.")
    answer = _answer(request, approve=body.decision == "approve", feedback=_said(body))
    call_ids = None if body.call_ids is None else list(dict.fromkeys(body.call_ids))
    return await _store(request, session_id, body.decision, call_ids, answer)


async def _store(
    request: HttpRequest, session_id: str, decision: str, call_ids: list[str] | None, answer: Decision
) -> Decided:
    require_clean(answer.feedback, *(call_ids or ()), *_texts(answer.arguments))
    async with store_timeout() as deadline:
        session = await owned(request, session_id)
        change = await in_thread(approvals.decide_all)(session.pk, call_ids, answer, deadline=deadline)
    announce(change)
    decided = [event.payload["call_id"] for event in change.events if event.kind == EventKind.APPROVAL_DECIDED]
    return Decided(session_id=session.key, decision=decision, call_ids=decided, count=len(decided))


def _answer(request: HttpRequest, *, approve: bool, feedback: str, arguments: dict[str, Any] | None = None) -> Decision:
    return Decision(approve=approve, arguments=arguments, feedback=feedback, by=owner(request).pk, via=Via.REST)


def _said(body: DecisionIn | BatchIn) -> str:
    return body.feedback or body.reason or ""


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a JSON value; jsonb has no place for some of them."""
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from _texts(each)
        case dict():
            for key, each in value.items():
                yield key
                yield from _texts(each)


def _pending(row: Approval) -> PendingApproval:
    call = row.call
    return PendingApproval(
        request_id=row.pk,
        request_type="plan" if call.tool == CREATE_PLAN else "tool",
        subject=call.tool,
        details={"arguments": call.arguments},
        reason=call.reason,
        created_at=row.created_at,
        expires_at=row.expires_at,
        call_id=call.call_id,
        tool_name=call.tool,
        arguments=call.arguments,
        agent=call.agent,
        rule=call.rule,
    )
