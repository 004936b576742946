"""Tokens, time, money and what happened, where the original's benchmark and its dashboards ask for them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema

from sessions.api.http import ERRORS, MAX_OFFSET, owned, owner
from sessions.billing import usage
from sessions.database import in_thread
from sessions.errors import InvalidField, NotFound
from sessions.models import EventKind
from sessions.protocol import MAX_KEY_LENGTH, ErrorCode
from sessions.turns.sessions import owned_session

router = Router(tags=["usage"])

MOST = 1000


class ModelRequestOut(Schema):
    """One request to a model; the names are those that the benchmark client reads."""

    timestamp: datetime
    model: str
    duration_ms: float
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = Field(description="The part of the prompt that the provider had cached.")
    reasoning_tokens: int = Field(description="The part of the completion that was thought.")
    estimated: bool = Field(description="The provider told no count of tokens.")
    has_tool_calls: bool
    success: bool
    error: str | None
    outcome: str
    purpose: str = Field(description="`step` of a turn, or `routing`: which agent is to answer.")
    agent: str
    turn_id: uuid.UUID
    attempt: int
    step: int
    number: int = Field(description="Which call of the step it was: those before it failed.")
    own_key: bool = Field(description="It was made with a key of the user's own.")
    first_token_ms: float | None
    cost: float | None = Field(description="US dollars; null where no price is known.")


class SessionUsage(Schema):
    """What a session used; the sums are over all requests, `requests` has the newest."""

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
    total_cost: float | None = Field(description="US dollars of the requests with a price; null where none has one.")
    requests_without_price: int
    requests: list[ModelRequestOut]


class SessionsUsed(Schema):
    sessions: list[str]
    count: int


class Usage(Schema):
    """Counts over all sessions of the caller."""

    metrics: dict[str, dict[str, Any]]
    computed: dict[str, float]
    timestamp: datetime


class AuditEntry(Schema):
    """An event; `correlation_id` is its turn."""

    timestamp: datetime
    event_type: str
    event_id: uuid.UUID
    session_id: str
    correlation_id: uuid.UUID | None
    number: int
    data: dict[str, Any]


class AuditLog(Schema):
    audit_log: list[AuditEntry]
    count: int
    filters: dict[str, Any]


class Stats(Schema):
    """Of the event log; there is no bus here whose handlers could fail."""

    total_published: int
    successful_handlers: int
    failed_handlers: int
    last_event_time: datetime | None
    success_rate: float


@router.get("/events/metrics", response={200: Usage, **ERRORS})
async def get_usage(request: HttpRequest) -> Usage:
    """Return what agents, tools, people and errors count to in all of the caller's sessions."""
    found = await in_thread(usage.of_owner)(owner(request).pk)
    return Usage(**found, timestamp=timezone.now())


@router.get("/events/metrics/sessions", response={200: SessionsUsed, **ERRORS})
async def list_sessions_used(request: HttpRequest, limit: int = MOST, offset: int = 0) -> SessionsUsed:
    """List the caller's sessions in which a model was asked, the one used last first."""
    limit, offset = _bounded(limit), min(max(offset, 0), MAX_OFFSET)
    keys, count = await in_thread(usage.sessions_used)(owner(request).pk, limit, offset)
    return SessionsUsed(sessions=keys, count=count)


@router.get("/events/metrics/session/{path:session_id}", response={200: SessionUsage, **ERRORS})
async def get_session_usage(request: HttpRequest, session_id: str, limit: int = MOST) -> SessionUsage:
    """Return what a session used: tokens, time and money, together and for each request to a model."""
    session = await in_thread(owned_session)(owner(request).pk, session_id)
    if session is None:
        name = session_id[:MAX_KEY_LENGTH]
        raise NotFound(ErrorCode.SESSION_NOT_FOUND, f"No metrics found for session {name}")
    return SessionUsage(**await in_thread(usage.of_session)(session, _bounded(limit)))


@router.get("/events/audit-log", response={200: AuditLog, **ERRORS})
async def get_audit_log(
    request: HttpRequest, session_id: str | None = None, event_type: str | None = None, limit: int = 100
) -> AuditLog:
    """Return what happened last, the newest first: in one session, or in those used last."""
    if event_type is not None and event_type not in EventKind.values:
        raise InvalidField(f"There is no event type `{event_type[:64]}`.")
    session = await owned(request, session_id) if session_id else None
    limit = _bounded(limit)

    def read() -> list[dict[str, Any]]:
        sessions = [session] if session else usage.audited(owner(request).pk)
        return usage.audit_log(sessions, event_type, limit)

    entries = await in_thread(read)()
    filters = {"session_id": session_id, "event_type": event_type, "limit": limit}
    return AuditLog(audit_log=[AuditEntry(**entry) for entry in entries], count=len(entries), filters=filters)


@router.get("/events/stats", response={200: Stats, **ERRORS})
async def get_stats(request: HttpRequest) -> Stats:
    """Return how many events there were; each is delivered by being in the log, so none can fail."""
    count, last = await in_thread(usage.published)(owner(request).pk)
    return Stats(
        total_published=count, successful_handlers=count, failed_handlers=0, last_event_time=last, success_rate=1.0
    )


def _bounded(limit: int) -> int:
    return min(max(limit, 1), MOST)
