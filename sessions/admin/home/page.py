"""The context of the home's template. Who may not see a kind of rows does not see its figures either."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from sessions.admin.display import badge, conversation_link, escape_controls, format_timedelta, link, shorten, show_time
from sessions.admin.home import figures, now, pictures
from sessions.admin.home.figures import CallFigures, TurnFigures, Usage
from sessions.admin.home.window import DEFAULT, SPANS, Window, rows_url
from sessions.admin.operators import what_was_done
from sessions.models import Approval, ModelCall, Session, Turn, TurnStatus, Worker

MAX_ACTIONS = 8


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the home shows to this operator."""
    moment = timezone.now()
    window = Window.ending(moment, request.GET.get("window", DEFAULT))
    found: dict[str, Any] = {"window": window, "windows": list(SPANS), "moment": show_time(moment), "attention": []}
    if _may_see(request, Session):
        found["search"] = reverse("admin:agent_sessions_session_changelist")
    if _may_see(request, Turn):
        found |= _turns(window, found["attention"])
        found |= _queue(found["attention"])
    if _may_see(request, Approval):
        found |= _approvals(found["attention"])
    if _may_see(request, Worker):
        found |= _workers(found["attention"])
    if _may_see(request, ModelCall):
        found |= _usage(Window.ending(moment, "month" if window.name == "month" else "week"))
    if request.user.has_perm("admin.view_logentry"):
        entries = LogEntry.objects.select_related("user", "content_type").order_by("-pk")
        found["actions"] = [
            (show_time(entry.action_time), entry, what_was_done(entry), shorten(entry.object_repr))
            for entry in entries[:MAX_ACTIONS]
        ]
    return found


def _may_see(request: HttpRequest, model: type[Any]) -> bool:
    return bool(request.user.has_perm(f"agent_sessions.view_{model._meta.model_name}"))


def _turns(window: Window, attention: list[tuple[str, str]]) -> dict[str, Any]:
    slots, total = figures.turns_in(window)
    failures = [
        {
            "code": failure.code,
            "count": failure.count,
            "url": rows_url("turn", window.start, window.end, status__exact="failed", error_code=failure.code),
            "newest": link(Turn(pk=failure.turn_id), shorten(failure.sentence, 100) or failure.code),
            "time": show_time(failure.failed_at),
        }
        for failure in figures.failures_in(window)
    ]
    _watch_failures(window, slots, attention)
    return {
        "plots": pictures.of_turns(window, slots, total),
        "turns": total,
        "is_cut": total.count >= figures.MAX_ROWS,
        "max_rows": figures.MAX_ROWS,
        "failures": failures,
        "first_token": percentiles(total.first_token),
        "duration": percentiles(total.duration),
    }


def _watch_failures(window: Window, slots: dict[int, TurnFigures], attention: list[tuple[str, str]]) -> None:
    """Say so when many of the turns of the last hour or so have failed."""
    parts = max(timedelta(hours=1) // window.slot, 1)
    last = [slots[number] for number in range(window.count - parts, window.count) if number in slots]
    ended, failed = sum(part.count - part.open for part in last), sum(part.failed for part in last)
    if failed >= now.MIN_FAILURES and failed > ended * now.MANY_FAILURES:
        url = rows_url("turn", window.end - window.slot * parts, window.end, status__exact="failed")
        attention.append((url, f"{failed} of the {ended} turns that ended last have failed"))


def _queue(attention: list[tuple[str, str]]) -> dict[str, Any]:
    queue = now.queue()
    url = f"{reverse('admin:agent_sessions_turn_changelist')}?status__exact="
    if queue.waited > now.LONG_QUEUE and queue.counts[TurnStatus.QUEUED] > queue.put_off:
        attention.append((f"{url}queued", f"A turn has waited for a worker for {format_timedelta(queue.waited)}"))
    return {
        "queue": [(badge(status), count, url + status) for status, count in queue.counts.items()],
        "put_off": queue.put_off,
        "waited": format_timedelta(queue.waited) if queue.counts[TurnStatus.QUEUED] else "–",
        "open_turns": [
            {
                "state": badge(turn.status),
                "turn": link(turn, f"turn {str(turn.pk)[:8]}…{str(turn.pk)[-4:]}"),
                "session": conversation_link(turn.session),
                "owner": shorten(turn.session.owner.get_username()),
                "since": show_time(turn.claimed_at or turn.queued_at),
                "worker": escape_controls(turn.worker),
            }
            for turn in queue.turns
        ],
    }


def _approvals(attention: list[tuple[str, str]]) -> dict[str, Any]:
    approvals, count = now.waiting_approvals()
    url = f"{reverse('admin:agent_sessions_approval_changelist')}?status__exact=pending"
    oldest = min((approval.created_at for approval in approvals), default=None)
    if oldest and timezone.now() - oldest > now.LONG_APPROVAL:
        attention.append((url, f"An approval has waited since {oldest:%Y-%m-%d %H:%M:%S} UTC"))
    return {
        "approvals": [
            {
                "tool": link(approval, shorten(approval.call.tool)),
                "session": conversation_link(approval.call.turn.session),
                "owner": shorten(approval.call.turn.session.owner.get_username()),
                "asked": show_time(approval.created_at),
                "expires": show_time(approval.expires_at),
            }
            for approval in approvals
        ],
        "approval_count": count,
        "approvals_url": url,
        "decided_url": url.replace("status__exact=pending", "created=day"),
    }


def _workers(attention: list[tuple[str, str]]) -> dict[str, Any]:
    workers = now.workers()
    turns = reverse("admin:agent_sessions_turn_changelist")
    rows: list[dict[str, Any]] = [
        {
            "row": worker,
            "name": link(worker, escape_controls(worker.name)),
            "alive": now.alive(worker),
            "seen": show_time(worker.seen_at),
            "turns": f"{turns}?{urlencode({'status__exact': 'running', 'worker': worker.name})}",
        }
        for worker in workers
    ]
    url = reverse("admin:agent_sessions_worker_changelist")
    if not any(row["alive"] for row in rows):
        attention.append((url, "No worker is alive: turns wait"))
    elif silent := sum(not row["alive"] and bool(row["row"].running_turns) for row in rows):
        attention.append((url, f"Workers without a sign of life that had turns: {silent}"))
    return {"workers": rows, "workers_url": url}


def _usage(window: Window) -> dict[str, Any]:
    usage = figures.usage_in(window)
    days = [_row(window, f"{day:%Y-%m-%d}", part, start=day, end=end) for day, end, part in _days(window, usage)]
    tables = [
        ("By day", "Day", days),
        ("By model", "Model", [_row(window, row.key, row, model=row.key) for row in usage.models]),
        ("By agent", "Agent", [_row(window, row.key, row, agent=row.key) for row in usage.agents]),
        ("By user", "User", _by_owner(window, usage)),
    ]
    return {
        "usage": tables,
        "usage_window": window,
        "cost_plot": pictures.of_costs(window, usage),
        "usage_is_cut": bool(usage.all and usage.all.calls >= figures.MAX_ROWS),
        "max_rows": figures.MAX_ROWS,
    }


def _days(window: Window, usage: Usage) -> list[tuple[datetime, datetime, CallFigures]]:
    slots = list(window.slots())
    days = []
    for start, end in window.days():
        parts = [usage.slots[n] for n, (begin, _) in enumerate(slots) if start <= begin < end and n in usage.slots]
        if parts:
            days.append((start, end, figures.together(start, parts)))
    return days


def _by_owner(window: Window, usage: Usage) -> list[dict[str, Any]]:
    names = get_user_model().objects.in_bulk([row.key for row in usage.owners if row.key])
    return [
        _row(window, shorten(names[row.key].get_username()), row, owner=row.key)
        if row.key in names
        else _row(window, "deleted", row, owner__isnull="True")
        for row in usage.owners
    ]


def _row(
    window: Window,
    name: str,
    row: CallFigures,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    **filters: object,
) -> dict[str, Any]:
    """Return a row of a table of costs, with a link to its model calls."""
    return {
        "name": shorten(name) or "–",
        "url": rows_url("modelcall", start or window.start, end or window.end, **filters),
        "figures": row,
        "cost": dollars(row.cost),
        "own_cost": dollars(row.own_cost) if row.own_cost else "",
        "first_token": percentiles(row.first_token),
        "duration": percentiles(row.duration),
    }


def dollars(cost: Any) -> str:
    """Return an amount in US dollars, with as many digits as it needs to be told from nothing."""
    return f"${cost:,.2f}" if cost >= 1 or not cost else f"${cost:.4f}" if cost >= 0.0001 else "under $0.0001"


def percentiles(pair: figures.Percentiles) -> str:
    """Return what 50 % and 95 % are faster than."""
    return " / ".join(format_timedelta(timedelta(seconds=value)) for value in pair) if pair else "–"
