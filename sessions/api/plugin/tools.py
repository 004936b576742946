"""The plugin's answers about tools: may it run, and what came of it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from sessions.api.commands import announce, store_timeout
from sessions.api.http import ERRORS, ErrorOut, owner, require_clean
from sessions.api.plugin.lookup import call_of
from sessions.api.plugin.schemas import ApprovalOut, RejectIn, ToolResultIn, ToolResultOut
from sessions.database import in_thread
from sessions.models import Via
from sessions.turns import approvals, tool_calls
from sessions.turns.approvals import Decision

router = Router()

APPROVAL = "/projects/{uuid:project_id}/approvals/{uuid:approval_id}"
RESULT = "/projects/{uuid:project_id}/tools/{uuid:tool_id}/result"
ANSWERS = {409: ErrorOut, **ERRORS}

#: What the plugin repeats of the call itself; the rest of a result is for the model.
REPEATED = ("tool_id", "tool_type")


@router.post(f"{APPROVAL}/approve", response={200: ApprovalOut, **ANSWERS})
async def approve(request: HttpRequest, project_id: uuid.UUID, approval_id: uuid.UUID) -> ApprovalOut:
    """Let a call run; the order to run it comes as an event."""
    await _decide(request, project_id, approval_id, approve=True)
    return ApprovalOut(approval_id=approval_id, status="approved")


@router.post(f"{APPROVAL}/reject", response={200: ApprovalOut, **ANSWERS})
async def reject(
    request: HttpRequest, project_id: uuid.UUID, approval_id: uuid.UUID, body: RejectIn | None = None
) -> ApprovalOut:
    """Do not let a call run; the reason goes to the model."""
    await _decide(request, project_id, approval_id, approve=False, feedback=(body and body.reason) or "")
    return ApprovalOut(approval_id=approval_id, status="rejected")


@router.post(RESULT, response={200: ToolResultOut, **ANSWERS})
async def take_result(
    request: HttpRequest, project_id: uuid.UUID, tool_id: uuid.UUID, body: ToolResultIn
) -> ToolResultOut:
    """Take the result of a tool, once."""
    failed = body.status == "failed"
    call = await call_of(request, project_id, tool_id)
    async with store_timeout() as deadline:
        record = in_thread(tool_calls.record_tool_result)
        change = await record(
            call.turn.session_id, call.call_id, content=_content(body), failed=failed, deadline=deadline
        )
    announce(change)
    return ToolResultOut(tool_id=tool_id, status=body.status, message="The result was taken.")


async def _decide(
    request: HttpRequest, project_id: uuid.UUID, approval_id: uuid.UUID, *, approve: bool, feedback: str = ""
) -> None:
    require_clean(feedback)
    call = await call_of(request, project_id, approval_id)
    answer = Decision(approve=approve, feedback=feedback, by=owner(request).pk, via=Via.REST)
    async with store_timeout() as deadline:
        decide = in_thread(approvals.decide)
        change = await decide(call.turn.session_id, call.call_id, answer, deadline=deadline)
    announce(change)


def _content(body: ToolResultIn) -> str:
    """Return what the model is told: the result as JSON text, behind the error where there is one."""
    result: dict[str, Any] = {key: value for key, value in (body.result or {}).items() if key not in REPEATED}
    text = json.dumps(result, ensure_ascii=False)
    if body.status == "failed":
        text = f"Error: {body.error or result.get('error') or 'the tool failed'}" + (f"\n{text}" if result else "")
    # The one character that PostgreSQL cannot store; the output of tools may well have it.
    return text.replace("\x00", "�")
