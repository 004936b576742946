"""REST answers as the original's editor (Flutter) parses them: types are cast hard, a wrong one throws."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.casts import boolean, integer, listed, mapping, moment, number, parsed, text


def session(data: Any) -> dict[str, Any]:
    assert "session" not in data, "nested: the editor reads the session flat"
    return parsed(
        data,
        required={"id": text, "message_count": number},
        optional={
            "created_at": moment,
            "updated_at": moment,
            "last_activity": moment,
            "current_agent": text,
            "title": text,
            "description": text,
            "is_active": boolean,
        },
    )


def session_list(data: Any) -> list[dict[str, Any]]:
    return list(parsed(data, required={"sessions": listed(session)})["sessions"])


def _arguments(value: Any) -> dict[str, Any]:
    return mapping(json.loads(value) if isinstance(value, str) else value)


def _tool_call(data: Any) -> dict[str, Any]:
    function = parsed(data["function"], required={"name": text, "arguments": _arguments})
    return {**parsed(data, required={"id": text}), **function}


def _message(data: Any) -> dict[str, Any]:
    return parsed(
        data,
        required={"role": text},
        optional={"content": text, "name": text, "tool_call_id": text, "tool_calls": listed(_tool_call)},
    )


def _switch(data: Any) -> dict[str, Any]:
    return parsed(data, required={"from": text, "to": text, "reason": text, "timestamp": moment})


def history(data: Any) -> dict[str, Any]:
    return parsed(
        data,
        required={
            "session_id": text,
            "messages": listed(_message),
            "message_count": number,
            "agent_history": listed(_switch),
        },
        optional={"last_activity": moment, "current_agent": text},
    )


def _approval(data: Any) -> dict[str, Any]:
    return parsed(
        data,
        required={"call_id": text, "tool_name": text, "arguments": mapping, "created_at": moment},
        optional={"reason": text},
    )


def pending_approvals(data: Any) -> dict[str, Any]:
    return parsed(data, required={"session_id": text, "pending_approvals": listed(_approval), "count": integer})


def current_agent(data: Any) -> dict[str, Any]:
    return parsed(
        data,
        required={
            "session_id": text,
            "current_agent": text,
            "agent_history": listed(_switch),
            "switch_count": integer,
        },
    )
