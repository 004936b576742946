"""Takes the plugin's decisions and results of tool calls."""

import json
import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from sessions.api.commands import store_change
from sessions.api.http import ERRORS, ErrorOut, owner, require_clean
from sessions.api.plugin.lookup import call_of
from sessions.api.plugin.schemas import ApprovalOut, RejectIn, ToolResultIn, ToolResultOut
from sessions.models import Session, ToolCall, Via
from sessions.turns import approvals, tool_calls
from sessions.turns.approvals import Decision

router = Router()

APPROVAL = "/projects/{uuid:project_id}/approvals/{uuid:approval_id}"
RESULT = "/projects/{uuid:project_id}/tools/{uuid:tool_id}/result"
CALL_ERRORS = {409: ErrorOut, **ERRORS}

#: Fields of a result that repeat the call; the model receives the other fields.
CALL_FIELDS = ("tool_id", "tool_type")


@router.post(f"{APPROVAL}/approve", response={200: ApprovalOut, **CALL_ERRORS})
async def approve(request: HttpRequest, project_id: uuid.UUID, approval_id: uuid.UUID) -> ApprovalOut:
    """Approve a call; the order to run it arrives as an event."""
    await _decide(request, project_id, approval_id, approve=True)
    return ApprovalOut(approval_id=approval_id, status="approved")


@router.post(f"{APPROVAL}/reject", response={200: ApprovalOut, **CALL_ERRORS})
async def reject(
    request: HttpRequest, project_id: uuid.UUID, approval_id: uuid.UUID, body: RejectIn | None = None
) -> ApprovalOut:
    """Reject a call; the model receives the reason."""
    await _decide(request, project_id, approval_id, approve=False, feedback=(body and body.reason) or "")
    return ApprovalOut(approval_id=approval_id, status="rejected")


@router.post(RESULT, response={200: ToolResultOut, **CALL_ERRORS})
async def take_result(
    request: HttpRequest, project_id: uuid.UUID, tool_id: uuid.UUID, body: ToolResultIn
) -> ToolResultOut:
    """Store the result of a tool call; a call has one result."""
    call = await call_of(request, project_id, tool_id)
    record, failed = tool_calls.record_tool_result, body.status == "failed"
    await store_change(_session_of(call), record, call.call_id, content=_content(body), failed=failed)
    return ToolResultOut(tool_id=tool_id, status=body.status, message="The result was taken.")


async def _decide(
    request: HttpRequest, project_id: uuid.UUID, approval_id: uuid.UUID, *, approve: bool, feedback: str = ""
) -> None:
    require_clean(feedback)
    call = await call_of(request, project_id, approval_id)
    decision = Decision(approve=approve, feedback=feedback, by=owner(request).pk, via=Via.REST)
    await store_change(_session_of(call), approvals.decide, call.call_id, decision)


async def _session_of(call: ToolCall) -> Session:
    return call.turn.session


def _content(body: ToolResultIn) -> str:
    """Return the text for the model: the error, if any, and the result as JSON."""
    result: dict[str, Any] = {key: value for key, value in (body.result or {}).items() if key not in CALL_FIELDS}
    text = json.dumps(result, ensure_ascii=False)
    if body.status == "failed":
        text = f"Error: {body.error or result.get('error') or 'the tool failed'}" + (f"\n{text}" if result else "")
    # NUL is the one character that PostgreSQL cannot store, and tools may print it.
    return text.replace("\x00", "�")
