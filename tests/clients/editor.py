"""The original's editor (Flutter): the casts in which a wrong type throws, and what it shows of frames."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.casts import all_are, boolean, integer, listed, mapping, moment, number, parsed, text, token
from tests.clients.transcript import Client


def session(data: Any) -> dict[str, Any]:
    assert "session" not in data, "the editor reads the session flat, not nested"
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
        required={"session_id": text, "current_agent": text, "agent_history": listed(_switch), "switch_count": integer},
    )


TEXTS = ("content", "error", "reason", "call_id", "tool_name", "role", "agent_type", "from_agent", "to_agent")
OBJECTS = ("arguments", "result", "metadata")
BOOLEANS = ("is_final", "requires_approval")


class Reader:
    """What it shows: a bubble for each message, a dialog for each call to approve, the other calls run at once."""

    def __init__(self) -> None:
        self.bubbles: list[str] = []
        self.dialogs: list[str] = []
        self.runs: list[str] = []
        self.errors: list[str] = []
        self.agent = ""

    def take(self, text_of_frame: str) -> dict[str, Any]:
        frame = mapping(json.loads(text_of_frame))
        optional = all_are(text, *TEXTS) | all_are(mapping, *OBJECTS) | all_are(boolean, *BOOLEANS)
        read = parsed(frame, required={"type": text}, optional=optional)
        match read["type"]:
            case "tool_call":
                assert read["arguments"], "the editor would read a call without arguments, which it cannot run"
                (self.dialogs if read["requires_approval"] else self.runs).append(text(read["call_id"]))
                text(read["tool_name"])
            case "agent_switched":
                self.agent = text(read["to_agent"] or mapping(read["metadata"])["to_agent"])
            case "error":
                self.errors.append(read["content"] or read["error"] or "Unknown error")
            case _:
                # Also frames of an unknown type. It does not read `token`.
                self.bubbles.append(read["content"] or "")
        return frame

    def shown(self) -> dict[str, Any]:
        return vars(self)


CLIENT = Client(
    reader=Reader,
    answers={
        "token": token,
        "session": session,
        "session_list": session_list,
        "history": history,
        "pending_approvals": pending_approvals,
    },
    headers={"Authorization": "Bearer $access"},
    body_headers={"Content-Type": "application/json"},
)
