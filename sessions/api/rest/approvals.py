"""A session's open tool calls and pending approvals, and decisions: for clients that reconnect or have no WebSocket."""

import uuid
from datetime import datetime
from typing import Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Field, Router, Schema

from agents.display import show_arguments
from agents.tools import CREATE_PLAN
from sessions.api.commands import store_change
from sessions.api.http import ERRORS, ErrorOut, owner, require_clean, session_of, texts_in
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Approval, EventKind, Session, ToolCall, ToolCallStatus, Via
from sessions.protocol.codes import MAX_CALL_ID_LENGTH, MAX_FEEDBACK_LENGTH, ErrorCode, Rejected
from sessions.turns import approvals, tool_calls
from sessions.turns.approvals import Decision
from sessions.turns.transcript import defined

router = Router(tags=["approvals"])

ONE = "/sessions/{path:session_id}"
DECISION_ERRORS = {**ERRORS, 409: ErrorOut}
MAX_BATCH_CALLS = 100
DISPLAY = (
    "The arguments for people to read: what is invisible or looks like something else is shown, padding is folded."
)


CLIENT_TOOL = "Kind and description of a tool that the client defines; left out for others."


class PendingApproval(Schema):
    """A call that waits for an answer. No field is null, because the original editor casts all of them."""

    request_id: uuid.UUID = Field(alias="pk")
    request_type: str
    subject: str
    details: dict[str, Any]
    reason: str = Field(alias="call.reason")
    created_at: datetime
    expires_at: datetime
    call_id: str = Field(alias="call.call_id")
    tool_name: str = Field(alias="call.tool")
    arguments: dict[str, Any] = Field(alias="call.arguments")
    display: dict[str, Any] = Field(description=DISPLAY)
    agent: str = Field(alias="call.agent")
    rule: str = Field(alias="call.rule")
    client_tool: dict[str, str] | None = Field(None, description=CLIENT_TOOL)

    @staticmethod
    def resolve_request_type(row: Approval) -> str:
        return "plan" if row.call.tool == CREATE_PLAN else "tool"

    @staticmethod
    def resolve_subject(row: Approval) -> str:
        return row.call.tool

    @staticmethod
    def resolve_details(row: Approval) -> dict[str, Any]:
        return {"arguments": row.call.arguments}


class PendingApprovals(Schema):
    session_id: str
    pending_approvals: list[PendingApproval]
    count: int


class FeedbackIn(Schema):
    feedback: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH, description="The text for the model.")
    reason: str | None = Field(None, max_length=MAX_FEEDBACK_LENGTH, description="Another name for `feedback`.")


class DecisionIn(FeedbackIn):
    """The answer to one call."""

    call_id: str = Field(min_length=1, max_length=MAX_CALL_ID_LENGTH)
    decision: Literal["approve", "edit", "reject"]
    modified_arguments: dict[str, Any] | None = Field(None, description="With `edit`: the arguments to run it with.")


class BatchIn(FeedbackIn):
    """One answer for several calls: the named ones, or all."""

    decision: Literal["approve", "reject"]
    call_ids: list[str] | None = Field(None, min_length=1, max_length=MAX_BATCH_CALLS)
    all: bool = Field(False, description="Required without `call_ids`.")


class DecisionOut(Schema):
    """The calls that were answered."""

    status: str = "success"
    session_id: str
    decision: str
    call_ids: list[str]
    count: int


@router.get(f"{ONE}/pending-approvals", response={200: PendingApprovals, **ERRORS}, exclude_none=True)
async def list_pending_approvals(request: HttpRequest, session_id: str, plans: bool = False) -> dict[str, Any]:
    """List a session's calls that wait for an answer, the oldest first; plans only with `plans`."""
    session = await session_of(request, session_id)
    rows = approvals.pending(session.pk)
    if not plans:
        # The original editor would take a plan for a tool that it lacks, and answer with an error, which rejects the
        # plan. It receives plans as frames.
        rows = rows.exclude(call__tool=CREATE_PLAN)
    pending = await in_thread(shown)(rows)
    return {"session_id": session.key, "pending_approvals": pending, "count": len(pending)}


def shown(rows: QuerySet[Approval]) -> list[Approval]:
    """Return approvals with what people are shown of their calls."""
    pending = list(rows)
    for approval in pending:
        vars(approval)["display"] = show_arguments(approval.call.arguments)
        vars(approval).update(defined(approval.call))
    return pending


@router.post(f"{ONE}/hitl-decision", response={200: DecisionOut, **DECISION_ERRORS})
async def decide(request: HttpRequest, session_id: str, body: DecisionIn) -> DecisionOut:
    """Approve, edit or reject a call that waits for an answer. The first answer wins."""
    arguments = body.modified_arguments if body.decision == "edit" else None
    if body.decision == "edit" and arguments is None:
        raise Rejected(ErrorCode.INVALID_FIELD, "An `edit` needs `modified_arguments` to run the call with.")
    return await _store(request, session_id, body, [body.call_id], arguments)


@router.post(f"{ONE}/approvals", response={200: DecisionOut, **DECISION_ERRORS})
async def decide_many(request: HttpRequest, session_id: str, body: BatchIn) -> DecisionOut:
    """Answer several calls at once; if one of them no longer waits, answer none."""
    if body.call_ids is None and not body.all:
        raise Rejected(ErrorCode.INVALID_FIELD, "Name the calls in `call_ids`, or set `all`.")
    return await _store(request, session_id, body, body.call_ids and list(dict.fromkeys(body.call_ids)))


async def _store(
    request: HttpRequest,
    session_id: str,
    body: DecisionIn | BatchIn,
    call_ids: list[str] | None,
    arguments: dict[str, Any] | None = None,
) -> DecisionOut:
    feedback = body.feedback or body.reason or ""
    require_clean(feedback, *(call_ids or ()), *texts_in(arguments))
    decision = Decision(
        approve=body.decision != "reject", arguments=arguments, feedback=feedback, by=owner(request).pk, via=Via.REST
    )
    change = await store_change(session_of(request, session_id), approvals.decide_all, call_ids, decision)
    decided = [event.payload["call_id"] for event in change.events if event.kind == EventKind.APPROVAL_DECIDED]
    return DecisionOut(session_id=session_id, decision=body.decision, call_ids=decided, count=len(decided))


class OpenCall(Schema):
    """A call without a result; the fields are those of the frame `tool_call`."""

    turn_id: uuid.UUID
    call_id: str
    tool_name: str = Field(alias="tool")
    arguments: dict[str, Any]
    display: dict[str, Any] = Field(description=DISPLAY)
    requires_approval: bool = Field(description="The call waits for the user's approval; otherwise it may run.")
    reason: str
    agent: str
    rule: str
    edited: bool = Field(description="The user has changed the model's arguments.")
    created_at: datetime
    client_tool: dict[str, str] | None = Field(None, description=CLIENT_TOOL)

    @staticmethod
    def resolve_requires_approval(call: ToolCall) -> bool:
        return call.status == ToolCallStatus.ASKED


class CallRecord(OpenCall):
    """A call with its result, if it has one."""

    status: str
    result: str = Field(description="The whole text. The model got the middle of a long one left out.")
    facts: dict[str, Any] | None = Field(None, description="Exit code, hashes and diff, as in `tool_call_finished`.")
    finished_at: datetime | None = None


class OpenCalls(Schema):
    session_id: str
    tool_calls: list[OpenCall]
    count: int


@router.get(f"{ONE}/tool-calls", response={200: OpenCalls, **ERRORS}, exclude_none=True, tags=["tool calls"])
async def list_open_calls(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """List a session's tool calls without a result, the oldest first; clients send results through the WebSocket."""
    session = await session_of(request, session_id)
    calls = await in_thread(_open)(session)
    return {"session_id": session.key, "tool_calls": calls, "count": len(calls)}


def _open(session: Session) -> list[ToolCall]:
    return [_with_display(call) for call in tool_calls.open_calls(session.pk)]


@router.get(
    f"{ONE}/tool-calls/{{call_id}}", response={200: CallRecord, **ERRORS}, exclude_none=True, tags=["tool calls"]
)
async def get_call(request: HttpRequest, session_id: str, call_id: str) -> ToolCall:
    """Return a tool call with its whole result."""
    session = await session_of(request, session_id)
    return await in_thread(_call)(session, call_id)


def _call(session: Session, call_id: str) -> ToolCall:
    return _with_display(call_of(session, call_id))


def call_of(session: Session, call_id: str) -> ToolCall:
    """Return the newest call of a session with this id. Raises NotFound."""
    call = ToolCall.objects.filter(turn__session=session, call_id=call_id).order_by("-created_at").first()
    if call is None:
        raise NotFound(ErrorCode.UNKNOWN_TOOL_CALL, f"Tool call `{call_id}` does not exist in this session.")
    return call


def _with_display(call: ToolCall) -> ToolCall:
    vars(call).update(display=show_arguments(call.arguments), **defined(call))
    return call
