"""What an owner's sessions used and what happened in them, counted from rows.

Unlike the original's, the figures are therefore correct after a restart. This module never writes, and never
counts the rows of two owners together.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Max, Min, Q, QuerySet, Sum

from sessions.events.reads import agent_switches
from sessions.events.stored_text import PAYLOAD
from sessions.models import (
    PIECES,
    Approval,
    ApprovalStatus,
    Event,
    ModelCall,
    ModelCallOutcome,
    Session,
    ToolCall,
    ToolCallStatus,
    Turn,
    TurnStatus,
)

#: Sessions in an audit log over all of an owner's sessions: those used last.
MAX_AUDITED_SESSIONS = 20
#: Fields that the audit log leaves out of payloads. It says what happened; the history has the texts.
TEXT_FIELDS = ("content", "text", "arguments", "ends")
#: The newest events of some sessions but for pieces of text, from the index on the numbers of each session.
_NEWEST_EVENTS = f"""
    SELECT event.* FROM unnest(%s::uuid[]) AS audited(id) CROSS JOIN LATERAL (
        SELECT id, session_id, turn_id, number, first, kind, ({PAYLOAD}) AS payload, attempt, created_at
        FROM agent_sessions_event
        WHERE session_id = audited.id AND kind <> ALL(%s) AND kind = coalesce(%s, kind)
        ORDER BY number DESC LIMIT %s
    ) AS event
    ORDER BY created_at DESC, number DESC LIMIT %s
"""

OK = Q(outcome=ModelCallOutcome.OK)


def milliseconds(duration: timedelta | None) -> float:
    """Return a duration in milliseconds, the unit of the original's clients."""
    return round(duration.total_seconds() * 1000, 3) if duration else 0.0


def of_session(session: Session, limit: int) -> dict[str, Any]:
    """Return the sums over all model calls of a session, and its newest calls one by one, oldest first."""
    calls = ModelCall.objects.filter(session=session)
    sums = calls.aggregate(
        count=Count("pk"),
        ok=Count("pk", filter=OK),
        with_tools=Count("pk", filter=Q(has_tool_calls=True)),
        input=Sum("input_tokens", default=0),
        output=Sum("output_tokens", default=0),
        duration=Sum("duration"),
        dollars=Sum("cost"),
        priced=Count("cost"),
    )
    count, tokens, duration = sums["count"], sums["input"] + sums["output"], milliseconds(sums["duration"])
    return {
        "session_id": session.key,
        "total_requests": count,
        "successful_requests": sums["ok"],
        "failed_requests": count - sums["ok"],
        "total_duration_ms": duration,
        "average_duration_ms": duration / count if count else 0.0,
        "total_prompt_tokens": sums["input"],
        "total_completion_tokens": sums["output"],
        "total_tokens": tokens,
        "average_tokens_per_request": tokens / count if count else 0.0,
        "requests_with_tools": sums["with_tools"],
        "total_cost": _dollars(sums["dollars"]),
        "requests_without_price": count - sums["priced"],
        "requests": [_request(call) for call in reversed(calls.order_by("-pk")[:limit])],
    }


def _request(call: ModelCall) -> dict[str, Any]:
    success = call.outcome == ModelCallOutcome.OK
    return {
        "timestamp": call.started_at,
        "model": call.model,
        "duration_ms": milliseconds(call.duration),
        "prompt_tokens": call.input_tokens,
        "completion_tokens": call.output_tokens,
        "total_tokens": call.input_tokens + call.output_tokens,
        "cached_tokens": call.cached_tokens,
        "reasoning_tokens": call.reasoning_tokens,
        "estimated": call.estimated,
        "has_tool_calls": call.has_tool_calls,
        "success": success,
        "error": None if success else call.error_code or call.outcome,
        "outcome": call.outcome,
        "purpose": call.purpose,
        "agent": call.agent,
        "turn_id": call.turn_id,
        "attempt": call.attempt,
        "step": call.step,
        "number": call.number,
        "own_key": call.own_key,
        "client_session": call.client_session,
        "client_agent": call.client_agent,
        "first_token_ms": milliseconds(call.first_token_after) if call.first_token_after else None,
        "cost": _dollars(call.cost),
    }


def _dollars(cost: Any) -> float | None:
    return None if cost is None else float(cost)


def sessions_used(owner_id: int, limit: int, offset: int) -> tuple[list[str], int]:
    """Return keys of the owner's sessions with model calls, the one used last first, and how many there are."""
    sessions = Session.objects.filter(owner_id=owner_id, hidden=False, pk__in=ModelCall.objects.values("session"))
    keys = sessions.order_by("-updated_at", "-pk").values_list("key", flat=True)
    return list(keys[offset : offset + limit]), sessions.count()


def of_owner(owner_id: int) -> dict[str, Any]:
    """Count agents, tools, decisions and errors in all of the owner's sessions."""
    agents = _agents(owner_id)
    tools = _tools(owner_id)
    computed = {f"{name}_avg_duration_ms": row["total_duration_ms"] / row["count"] for name, row in agents.items()}
    for name, row in tools.items():
        ended = row["completed"] + row["failed"]
        if ended:
            computed[f"{name}_success_rate"] = row["completed"] / ended
    decisions = Approval.objects.filter(call__turn__session__owner_id=owner_id).exclude(status=ApprovalStatus.PENDING)
    errors = Turn.objects.filter(session__owner_id=owner_id, status=TurnStatus.FAILED)
    metrics = {
        "agent_switches": _switches(owner_id),
        "agent_processing": agents,
        "tool_executions": tools,
        "hitl_decisions": _counts(decisions, "status"),
        "errors": _counts(errors, "error_code"),
    }
    return {"metrics": metrics, "computed": computed}


def of_clients(owner_id: int, session: str | None, agent: str | None, limit: int) -> list[dict[str, Any]]:
    """Return what clients' own sessions used, and each agent in them, the one used last first.

    `session` and `agent` leave out all others. Only calls whose client has named its session count.
    """
    calls = ModelCall.objects.filter(owner_id=owner_id).exclude(client_session="")
    if session is not None:
        calls = calls.filter(client_session=session)
    if agent is not None:
        calls = calls.filter(client_agent=agent)
    sums = calls.values("client_session", "client_agent").annotate(
        requests=Count("pk"),
        successful_requests=Count("pk", filter=OK),
        prompt_tokens=Sum("input_tokens"),
        completion_tokens=Sum("output_tokens"),
        cached=Sum("cached_tokens"),
        dollars=Sum("cost"),
        requests_without_price=Count("pk", filter=Q(cost=None)),
        first_at=Min("started_at"),
        last_at=Max("started_at"),
    )
    return [
        {**row, "cached_tokens": row["cached"], "total_cost": _dollars(row["dollars"])}
        for row in sums.order_by("-last_at", "client_session", "client_agent")[:limit]
    ]


def _agents(owner_id: int) -> dict[str, dict[str, Any]]:
    rows = ModelCall.objects.filter(owner_id=owner_id).values("agent").order_by("agent")
    return {
        row["agent"]: {
            "count": row["count"],
            "total_duration_ms": milliseconds(row["duration"]),
            "success_count": row["ok"],
            "failure_count": row["count"] - row["ok"],
            "prompt_tokens": row["input"],
            "completion_tokens": row["output"],
            "cost": _dollars(row["dollars"]),
        }
        for row in rows.annotate(
            count=Count("pk"),
            ok=Count("pk", filter=OK),
            duration=Sum("duration"),
            input=Sum("input_tokens"),
            output=Sum("output_tokens"),
            dollars=Sum("cost"),
        )
    }


def _tools(owner_id: int) -> dict[str, dict[str, int]]:
    failed = (ToolCallStatus.FAILED, ToolCallStatus.REJECTED, ToolCallStatus.UNKNOWN)
    rows = ToolCall.objects.filter(turn__session__owner_id=owner_id).values("tool").order_by("tool")
    counts = rows.annotate(
        requested=Count("pk"),
        completed=Count("pk", filter=Q(status=ToolCallStatus.COMPLETED)),
        failed=Count("pk", filter=Q(status__in=failed)),
        needing_approval=Count("pk", filter=Q(requires_approval=True)),
    )
    return {
        row["tool"]: {
            "requested": row["requested"],
            "completed": row["completed"],
            "failed": row["failed"],
            "requires_approval": row["needing_approval"],
        }
        for row in counts
    }


def _switches(owner_id: int) -> dict[str, int]:
    events = agent_switches(Event.objects.filter(session__owner_id=owner_id))
    rows = events.values("payload__from_agent", "payload__to_agent").annotate(count=Count("pk"))
    return {f"{row['payload__from_agent']}_to_{row['payload__to_agent']}": row["count"] for row in rows.order_by()}


def _counts(rows: QuerySet[Any], column: str) -> dict[str, int]:
    return dict(rows.order_by().values_list(column).annotate(count=Count("pk")))


def audit_log(sessions: Iterable[Session], event_type: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest events of some sessions, the newest first, without pieces of text."""
    keys = {session.pk: session.key for session in sessions}
    events = Event.objects.raw(_NEWEST_EVENTS, [list(keys), [*map(str, PIECES)], event_type, limit, limit])
    return [_entry(keys[event.session_id], event) for event in events]


def _entry(session_key: str, event: Event) -> dict[str, Any]:
    return {
        "timestamp": event.created_at,
        "event_type": event.kind,
        "event_id": event.pk,
        "session_id": session_key,
        "correlation_id": event.turn_id,
        "number": event.number,
        "data": {key: value for key, value in event.payload.items() if key not in TEXT_FIELDS},
    }


def audited(owner_id: int) -> Iterable[Session]:
    """Return the sessions in an audit log over all of an owner's sessions."""
    return Session.objects.filter(owner_id=owner_id, hidden=False).order_by("-updated_at")[:MAX_AUDITED_SESSIONS]


def published(owner_id: int) -> tuple[int, datetime | None]:
    """Return how many events the owner's sessions have, and when the last one was written."""
    sums = Session.objects.filter(owner_id=owner_id).aggregate(
        count=Sum("last_number", default=0), last=Max("updated_at", filter=Q(last_number__gt=0))
    )
    return sums["count"], sums["last"]


def tokens_used(owner_id: int, since: datetime) -> list[tuple[datetime, int]]:
    """Return when each of a user's model calls since then ended and how many tokens it took, the oldest first.

    Calls in deleted sessions count too: deleting a session gives no tokens back.
    """
    # Ids begin with the time, so the index on them finds the newest calls.
    first = uuid.UUID(int=int(since.timestamp() * 1000) << 80)
    calls = ModelCall.objects.filter(pk__gte=first, owner_id=owner_id).order_by("pk")
    return list(calls.values_list("created_at", F("input_tokens") + F("output_tokens")))
