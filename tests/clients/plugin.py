"""The original's VS Code plugin: what its schemas (zod) accept, and what it shows. Anything else raises."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.clients.casts import boolean, integer, listed, mapping, number, parsed, text
from tests.clients.transcript import Client

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

EVENT_TYPES = frozenset(
    {
        "message_received",
        "message_created",
        "agent_started",
        "agent_status_changed",
        "agent_response",
        "agent_completed",
        "agent_switched",
        "orchestration_started",
        "orchestration_plan_created",
        "orchestration_completed",
        "heartbeat",
        "direct_agent_call",
        "task_started",
        "task_progress",
        "task_completed",
        "tool.approval_request",
        "tool.execution_signal",
        "tool.result_ack",
        "tool_result",
        "error",
    }
)


def uuid(value: Any) -> str:
    assert UUID.fullmatch(text(value)), f"{value!r} is not a UUID"
    return str(value)


def one_of(*choices: str) -> Any:
    def chosen(value: Any) -> str:
        assert value in choices, f"{value!r} is not one of {choices}"
        return str(value)

    return chosen


def nullable(parse: Any) -> Any:
    """`z.nullable`: the field may be null but not missing."""
    return lambda value: None if value is None else parse(value)


def optional(data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """`z.optional`: the field may be missing but not null."""
    return {name: parse(data[name]) for name, parse in fields.items() if name in data}


def ready(data: Any) -> dict[str, Any]:
    return parsed(data, required={"status": one_of("ready")})


def project(data: Any) -> dict[str, Any]:
    fields = {"id": uuid, "user_id": uuid, "name": text, "workspace_path": nullable(text)}
    return parsed(data, required={**fields, "created_at": text, "updated_at": text})


def project_list(data: Any) -> dict[str, Any]:
    return parsed(data, required={"projects": listed(project), "total": number})


def chat(data: Any) -> dict[str, Any]:
    return parsed(data, required={"id": uuid, "created_at": text, "message_count": number})


def chat_list(data: Any) -> dict[str, Any]:
    return parsed(data, required={"sessions": listed(chat), "total": number})


def message(data: Any) -> dict[str, Any]:
    fields = {"id": uuid, "content": text, "role": one_of("user", "assistant", "system"), "timestamp": text}
    return parsed(data, required={**fields, "agent_id": nullable(uuid)})


def message_list(data: Any) -> dict[str, Any]:
    return parsed(data, required={"messages": listed(message), "total": number, "session_id": uuid})


def _config(data: Any) -> dict[str, Any]:
    return optional(
        mapping(data),
        system_prompt=text,
        model=text,
        tools=listed(text),
        concurrency_limit=integer,
        temperature=number,
        max_tokens=integer,
        metadata=mapping,
    )


def agent(data: Any) -> dict[str, Any]:
    status = one_of("ready", "busy", "error")
    fields = {"id": uuid, "name": text, "status": status, "created_at": text, "config": _config}
    return parsed(data, required=fields)


def agent_list(data: Any) -> dict[str, Any]:
    return parsed(data, required={"agents": listed(agent), "total": number})


def approval(data: Any) -> dict[str, Any]:
    return parsed(data, required={"success": boolean, "approval_id": uuid, "status": text})


def tool_result(data: Any) -> dict[str, Any]:
    status = one_of("completed", "failed")
    return parsed(data, required={"success": boolean, "tool_id": uuid, "status": status}) | optional(data, message=text)


def event(line: str) -> dict[str, Any]:
    """Parse a line of the stream as the plugin does, and what its webview reads of the payload."""
    assert line.endswith("\n")
    assert "\n" not in line[:-1]
    data = mapping(json.loads(line))
    known = optional(
        data,
        type=one_of(*EVENT_TYPES),
        agent_id=nullable(uuid),
        content=nullable(text),
        timestamp=text,
        metadata=mapping,
        payload=mapping,
        session_id=nullable(text),
    )
    payload = known.get("payload", {})
    match known["type"]:
        case "message_created":
            parsed(payload, required={"role": text, "message_id": text, "content": text, "timestamp": text})
        case "agent_switched":
            parsed(payload, required={"selected_agent_id": uuid})
        case "task_started" | "task_completed":
            parsed(payload, required={"task_id": text})
        case "error":
            parsed(payload, required={"error": text, "agent_name": text})
        case "tool.approval_request":
            risk = one_of("LOW", "MEDIUM", "HIGH")
            parsed(payload, required={"approval_id": uuid, "tool_name": text, "params": mapping, "risk_level": risk})
            parsed(payload, required={"tool_params": mapping, "timeout_seconds": integer})
            assert 60 <= payload["timeout_seconds"] <= 3600
        case "tool.execution_signal":
            parsed(payload, required={"tool_id": uuid, "tool_name": text, "tool_params": mapping, "session_id": uuid})
            assert payload["execution_context"]["user_approved"] is True, "the plugin would drop it silently"
        case "tool.result_ack":
            status = one_of("received", "processing", "completed")
            parsed(payload, required={"tool_id": uuid, "status": status, "receipt_status": text})
    return known


def command(params: Any) -> tuple[str, list[str]]:
    """Check the parameters of execute_command as its executor does; return the program and its arguments."""
    given = optional(mapping(params), command=text, args=listed(text), timeout=integer, cwd=text)
    assert given["command"]
    assert 1000 <= given["timeout"] <= 600_000
    return given["command"], given["args"]


class Reader:
    """What its webview shows: each message once, by id, and the calls that its user approves or that it runs."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}
        self.asked: list[str] = []
        self.ran: list[str] = []
        self.errors: list[str] = []

    def take(self, line: str) -> dict[str, Any] | None:
        found = event(line)
        payload = found.get("payload", {})
        match found["type"]:
            case "heartbeat":
                return None
            case "message_created" if payload["role"] == "assistant":
                self.messages[payload["message_id"]] = payload["content"]
            case "tool.approval_request":
                self.asked.append(payload["tool_name"])
            case "tool.execution_signal":
                if payload["tool_name"] == "execute_command":
                    command(payload["tool_params"])
                self.ran.append(payload["tool_name"])
            case "error":
                self.errors.append(payload["error"])
        return found

    def shown(self) -> dict[str, Any]:
        return {**vars(self), "messages": list(self.messages.values())}


JSON = {"Content-Type": "application/json; charset=utf-8"}

CLIENT = Client(
    reader=Reader,
    answers={
        "ready": ready,
        "project": project,
        "project_list": project_list,
        "chat": chat,
        "chat_list": chat_list,
        "message": message,
        "message_list": message_list,
        "agent": agent,
        "agent_list": agent_list,
        "approval": approval,
        "tool_result": tool_result,
    },
    headers={"Authorization": "Bearer $pasted", **JSON},
    body_headers=JSON,
)
