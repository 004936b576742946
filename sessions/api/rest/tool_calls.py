"""Lists a session's open tool calls, for clients that reconnect."""

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, session_of
from sessions.database import in_thread
from sessions.models import ToolCall, ToolCallStatus
from sessions.turns import tool_calls

router = Router(tags=["tool calls"])


class OpenCall(Schema):
    """A call without a result; the fields are those of the frame `tool_call`."""

    turn_id: uuid.UUID
    call_id: str
    tool_name: str = Field(alias="tool")
    arguments: dict[str, Any]
    requires_approval: bool = Field(description="The call waits for the user's approval; otherwise it may run.")
    reason: str
    agent: str
    rule: str
    created_at: datetime

    @staticmethod
    def resolve_requires_approval(call: ToolCall) -> bool:
        return call.status == ToolCallStatus.ASKED


class OpenCalls(Schema):
    session_id: str
    tool_calls: list[OpenCall]
    count: int


@router.get("/sessions/{path:session_id}/tool-calls", response={200: OpenCalls, **ERRORS})
async def list_open_calls(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """List a session's tool calls without a result, the oldest first; clients send results through the WebSocket."""
    session = await session_of(request, session_id)
    calls = await in_thread(list)(tool_calls.open_calls(session.pk))
    return {"session_id": session.key, "tool_calls": calls, "count": len(calls)}
