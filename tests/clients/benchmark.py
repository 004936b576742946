"""The original's benchmark client, and a command-line client with the same protocol: what they read and show."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.casts import boolean, integer, listed, mapping, number, parsed, text, token
from tests.clients.transcript import Client


def created_session(data: Any) -> str:
    """Parse a new session: the runner reads `id`, the connection test `session_id`."""
    ids = parsed(data, required={"id": text, "session_id": text})
    assert ids["id"] == ids["session_id"]
    return str(ids["id"])


def _request(data: Any) -> dict[str, Any]:
    return parsed(
        data,
        required={
            "success": boolean,
            "prompt_tokens": integer,
            "completion_tokens": integer,
            "model": text,
            "duration_ms": number,
        },
    )


def session_metrics(data: Any) -> dict[str, Any]:
    return parsed(data, required={"requests": listed(_request), "total_tokens": integer, "total_duration_ms": number})


#: Its library closes the socket at a larger frame.
MAX_FRAME_BYTES = 2**20
#: Calls that it makes in one task.
MAX_CALLS = 100


class Reader:
    """Joins the tokens of a task until one is final, and runs every call at once, whether it needs approval or not."""

    def __init__(self) -> None:
        self.answer = ""
        self.finished = False
        self.calls: list[str] = []
        self.agents: list[str] = []
        self.aborted = ""

    def take(self, text_of_frame: str) -> dict[str, Any]:
        frame = mapping(json.loads(text_of_frame))
        match frame.get("type"):
            case "assistant_message":
                if self.finished:
                    # A new task starts with no tokens.
                    self.answer, self.finished = "", False
                self.answer += text(frame.get("token", ""))
                self.finished = bool(frame.get("is_final", False))
            case "tool_call":
                text(frame["tool_name"])
                mapping(frame["arguments"])
                self.calls.append(text(frame["call_id"]))
                assert len(self.calls) <= MAX_CALLS
            case "agent_switched":
                metadata = mapping(frame.get("metadata", {}))
                self.agents.append(text(metadata.get("to_agent") or frame.get("to_agent")))
            case "error":
                self.aborted = text(frame.get("content") or frame.get("error"))
        return frame

    def shown(self) -> dict[str, Any]:
        return vars(self)


CLIENT = Client(
    reader=Reader,
    answers={"token": token, "created_session": created_session, "session_metrics": session_metrics},
    headers={"Authorization": "Bearer $access", "X-Internal-Auth": "$internal_key"},
    body_headers={"Content-Type": "application/json"},
    max_size=MAX_FRAME_BYTES,
)
