"""Answers of the original's gateway, for clients written against it: every field that it had, with its type."""

from __future__ import annotations

from typing import Any

from tests.clients import benchmark, editor
from tests.clients.casts import Fields, all_are, boolean, integer, listed, mapping, moment, number, parsed, text
from tests.clients.transcript import Client


def _agent(data: Any) -> dict[str, Any]:
    fields = {"type": text, "name": text, "description": text, "allowed_tools": listed(text)}
    return parsed(data, required={**fields, "has_file_restrictions": boolean})


def agents(data: Any) -> dict[str, Any]:
    return parsed(data, required={"agents": listed(_agent), "total": integer})


def _switch(data: Any) -> dict[str, Any]:
    return parsed(data, required={"from": text, "to": text, "reason": text, "timestamp": moment})


def _context(data: Any) -> dict[str, Any]:
    required: Fields = {"id": text, "session_id": text, "current_agent": text, "switch_count": integer}
    required["created_at"] = moment
    return parsed(data, required=required, optional={"switch_history": listed(_switch), "last_switch_at": moment})


def current(data: Any) -> dict[str, Any]:
    return parsed(data, required={"context": _context}) | editor.current_agent(data)


def _listed_session(data: Any) -> dict[str, Any]:
    fields = {"id": text, "title": text, "message_count": integer, "last_activity": moment, "current_agent": text}
    return parsed(data, required={**fields, "is_active": boolean})


def sessions(data: Any) -> dict[str, Any]:
    counts = {"total": integer, "limit": integer, "offset": integer}
    return parsed(data, required={"sessions": listed(_listed_session), **counts})


def _approval(data: Any) -> dict[str, Any]:
    texts = all_are(text, "request_id", "request_type", "subject", "reason", "call_id", "tool_name")
    return parsed(data, required={**texts, "details": mapping, "created_at": moment, "arguments": mapping})


def approvals(data: Any) -> dict[str, Any]:
    return parsed(data, required={"session_id": text, "pending_approvals": listed(_approval), "count": integer})


def metrics(data: Any) -> dict[str, Any]:
    found = parsed(data, required={"metrics": mapping, "computed": mapping, "timestamp": moment})
    kinds = ("agent_switches", "agent_processing", "tool_executions", "hitl_decisions", "errors")
    counted = parsed(found["metrics"], required=all_are(mapping, *kinds))
    for processing in counted["agent_processing"].values():
        counts = all_are(integer, "count", "success_count", "failure_count")
        parsed(processing, required={**counts, "total_duration_ms": number})
    for tool in counted["tool_executions"].values():
        parsed(tool, required=all_are(integer, "requested", "completed", "failed", "requires_approval"))
    for kind in ("agent_switches", "hitl_decisions", "errors"):
        assert all(map(integer, counted[kind].values()))
    assert all(number(value) >= 0 for value in found["computed"].values())
    return found


def metrics_sessions(data: Any) -> dict[str, Any]:
    return parsed(data, required={"sessions": listed(text), "count": integer})


def _request(data: Any) -> dict[str, Any]:
    counts = all_are(integer, "prompt_tokens", "completion_tokens", "total_tokens")
    flags = all_are(boolean, "has_tool_calls", "success")
    required = {"timestamp": moment, "model": text, "duration_ms": number, **counts, **flags}
    return parsed(data, required=required, optional={"error": text})


def metrics_session(data: Any) -> dict[str, Any]:
    requests = ("total_requests", "successful_requests", "failed_requests", "requests_with_tools")
    tokens = ("total_prompt_tokens", "total_completion_tokens", "total_tokens")
    counts = all_are(integer, *requests, *tokens)
    averages = all_are(number, "total_duration_ms", "average_duration_ms", "average_tokens_per_request")
    return parsed(data, required={"session_id": text, **counts, **averages, "requests": listed(_request)})


def _entry(data: Any) -> dict[str, Any]:
    fields: Fields = {"timestamp": moment, "event_type": text, "event_id": text, "session_id": text}
    return parsed(data, required=fields, optional={"correlation_id": text})


def audit_log(data: Any) -> dict[str, Any]:
    found = parsed(data, required={"audit_log": listed(_entry), "count": integer, "filters": mapping})
    assert found["filters"].keys() == {"session_id", "event_type", "limit"}
    return found


def stats(data: Any) -> dict[str, Any]:
    counts = all_are(integer, "total_published", "successful_handlers", "failed_handlers")
    return parsed(data, required={**counts, "success_rate": number}, optional={"last_event_time": moment})


def health(data: Any) -> dict[str, Any]:
    return parsed(data, required={"status": text, "service": text, "version": text})


def jwks(data: Any) -> dict[str, Any]:
    key = all_are(text, "kty", "use", "kid", "alg", "n", "e")
    return parsed(data, required={"keys": listed(lambda each: parsed(each, required=key))})


CLIENT = Client(
    reader=benchmark.Reader,
    answers={
        "agents": agents,
        "current": current,
        "created_session": benchmark.created_session,
        "session": editor.session,
        "sessions": sessions,
        "history": editor.history,
        "approvals": approvals,
        "metrics": metrics,
        "metrics_sessions": metrics_sessions,
        "metrics_session": metrics_session,
        "audit_log": audit_log,
        "stats": stats,
        "health": health,
        "jwks": jwks,
    },
    headers={"X-Internal-Auth": "$internal_key"},
    body_headers={"Content-Type": "application/json"},
)
