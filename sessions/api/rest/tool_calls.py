"""The calls that are out: for a client that comes back and does not know what it was asked to run."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, owned
from sessions.database import in_thread
from sessions.models import ToolCall, ToolCallStatus
from sessions.turns import tool_calls

router = Router(tags=["tool calls"])


class OpenCall(Schema):
    """A call without a result; the fields are those of the frame `tool_call`."""

    turn_id: uuid.UUID
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    requires_approval: bool = Field(description="A person has not allowed it yet; otherwise it may be run.")
    reason: str
    agent: str
    rule: str
    created_at: datetime


class OpenCalls(Schema):
    session_id: str
    tool_calls: list[OpenCall]
    count: int


@router.get("/sessions/{path:session_id}/tool-calls", response={200: OpenCalls, **ERRORS})
async def list_open_calls(request: HttpRequest, session_id: str) -> OpenCalls:
    """List the calls of a session that have no result, the oldest first; results are taken by the socket."""
    session = await owned(request, session_id)
    calls = [_call(row) for row in await in_thread(lambda: list(tool_calls.open_calls(session.pk)))()]
    return OpenCalls(session_id=session.key, tool_calls=calls, count=len(calls))


def _call(row: ToolCall) -> OpenCall:
    return OpenCall(
        turn_id=row.turn_id,
        call_id=row.call_id,
        tool_name=row.tool,
        arguments=row.arguments,
        requires_approval=row.status == ToolCallStatus.ASKED,
        reason=row.reason,
        agent=row.agent,
        rule=row.rule,
        created_at=row.created_at,
    )
