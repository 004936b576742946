"""Usage, costs and the audit log, in the shapes that the original benchmark and dashboards read."""

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, MAX_OFFSET_ROWS, owner, require_clean, session_of
from sessions.billing import usage
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import EventKind
from sessions.protocol.codes import MAX_KEY_LENGTH, ErrorCode, Rejected
from sessions.turns.sessions import owned_session

router = Router(tags=["usage"])

MAX_ROWS = 1000


class ModelRequestOut(Schema):
    """One request to a model."""

    timestamp: datetime
    model: str
    duration_ms: float
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = Field(description="Prompt tokens that the provider had cached.")
    reasoning_tokens: int = Field(description="Completion tokens of the model's reasoning.")
    estimated: bool = Field(description="The provider reported no token counts.")
    has_tool_calls: bool
    success: bool
    error: str | None
    outcome: str
    purpose: str = Field(
        description="`step` of a turn, `routing`: the choice of the agent, or `summary` of older messages."
    )
    agent: str
    turn_id: uuid.UUID
    attempt: int
    step: int
    number: int = Field(description="The number of the call in its step; earlier ones failed.")
    own_key: bool = Field(description="The call used the user's own key.")
    client_session: str = Field(description="The client's own session, as it names it; empty if it names none.")
    client_agent: str = Field(description="The agent in it, as the client names it.")
    first_token_ms: float | None
    cost: float | None = Field(description="US dollars; null for an unknown price.")


class SessionUsage(Schema):
    """The usage of a session; sums count all requests, `requests` lists the newest."""

    session_id: str
    total_requests: int
    successful_requests: int
    failed_requests: int
    total_duration_ms: float
    average_duration_ms: float
    total_prompt_tokens: int
    total_completion_tokens: int
    total_tokens: int
    average_tokens_per_request: float
    requests_with_tools: int
    total_cost: float | None = Field(description="US dollars of the requests with a price; null if no request has one.")
    requests_without_price: int
    requests: list[ModelRequestOut]


class UsedSessions(Schema):
    sessions: list[str]
    count: int


class ClientUsage(Schema):
    """What an agent in a client's own session used, such as one of Codex or Claude Code."""

    client_session: str
    client_agent: str = Field(description="Empty: the client has named none.")
    requests: int
    successful_requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_cost: float | None = Field(description="US dollars of the requests with a price; null if no request has one.")
    requests_without_price: int
    first_at: datetime
    last_at: datetime


class ClientsUsage(Schema):
    clients: list[ClientUsage]
    total: int


class OwnerUsage(Schema):
    """Counts over all sessions of the caller."""

    metrics: dict[str, dict[str, Any]]
    computed: dict[str, float]
    timestamp: datetime


class AuditEvent(Schema):
    """An event; `correlation_id` is its turn."""

    timestamp: datetime
    event_type: str
    event_id: uuid.UUID
    session_id: str
    correlation_id: uuid.UUID | None
    number: int
    data: dict[str, Any]


class AuditLog(Schema):
    audit_log: list[AuditEvent]
    count: int
    filters: dict[str, Any]


class EventStats(Schema):
    """Counts of the event log; the handler counts are those of the original's event bus, which could fail."""

    total_published: int
    successful_handlers: int
    failed_handlers: int
    last_event_time: datetime | None
    success_rate: float


@router.get("/events/metrics", response={200: OwnerUsage, **ERRORS})
async def get_usage(request: HttpRequest) -> dict[str, Any]:
    """Return counts of agents, tools, decisions and errors in all of the caller's sessions."""
    return {**await in_thread(usage.of_owner)(owner(request).pk), "timestamp": timezone.now()}


@router.get("/events/metrics/sessions", response={200: UsedSessions, **ERRORS})
async def list_sessions_used(request: HttpRequest, limit: int = MAX_ROWS, offset: int = 0) -> dict[str, Any]:
    """List the caller's sessions with model calls, the one used last first."""
    offset = min(max(offset, 0), MAX_OFFSET_ROWS)
    keys, count = await in_thread(usage.sessions_used)(owner(request).pk, _bounded(limit), offset)
    return {"sessions": keys, "count": count}


@router.get("/events/metrics/session/{path:session_id}", response={200: SessionUsage, **ERRORS})
async def get_session_usage(request: HttpRequest, session_id: str, limit: int = MAX_ROWS) -> dict[str, Any]:
    """Return the tokens, time and cost of a session, in sum and for each request to a model."""
    session = await in_thread(owned_session)(owner(request).pk, session_id)
    if session is None:
        name = session_id[:MAX_KEY_LENGTH]
        raise NotFound(ErrorCode.SESSION_NOT_FOUND, f"No metrics found for session {name}")
    return await in_thread(usage.of_session)(session, _bounded(limit))


@router.get("/usage", response={200: ClientsUsage, **ERRORS})
async def list_usage_of_clients(
    request: HttpRequest, client_session: str | None = None, client_agent: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """List what clients' own sessions used, the one used last first."""
    require_clean(client_session or "", client_agent or "")
    clients = await in_thread(usage.of_clients)(owner(request).pk, client_session, client_agent, _bounded(limit))
    return {"clients": clients, "total": len(clients)}


@router.get("/events/audit-log", response={200: AuditLog, **ERRORS})
async def get_audit_log(
    request: HttpRequest, session_id: str | None = None, event_type: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """List the newest events first, of one session or of the sessions used last."""
    if event_type is not None and event_type not in EventKind.values:
        raise Rejected(ErrorCode.INVALID_FIELD, f"Event type `{event_type[:64]}` does not exist.")
    session = await session_of(request, session_id) if session_id else None
    sessions = [session] if session else usage.audited(owner(request).pk)
    limit = _bounded(limit)
    entries = await in_thread(usage.audit_log)(sessions, event_type, limit)
    filters = {"session_id": session_id, "event_type": event_type, "limit": limit}
    return {"audit_log": entries, "count": len(entries), "filters": filters}


@router.get("/events/stats", response={200: EventStats, **ERRORS})
async def get_stats(request: HttpRequest) -> dict[str, Any]:
    """Return the number of events. Being in the log delivers an event, so no delivery can fail."""
    count, last = await in_thread(usage.published)(owner(request).pk)
    return {
        "total_published": count,
        "successful_handlers": count,
        "failed_handlers": 0,
        "last_event_time": last,
        "success_rate": 1.0,
    }


def _bounded(limit: int) -> int:
    return min(max(limit, 1), MAX_ROWS)
