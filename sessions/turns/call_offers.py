"""Which client has a tool call: shown to one client at most, and to a person once that client has gone away.

A call that may run belongs to the first client it is shown to, by the name of its runner. Only a socket of the same
runner gets it again. When none comes back in time, the server cannot know whether the call ran: it becomes a question
to the user (`ask_again`), who lets it run once more or not. A call that only waits for approval has not been shown to
run, and another client may ask its user about it.

Nothing is written while a client has a call and works, or while its user thinks: the row names the web process with the
client's socket, and each process with such sockets renews one row of its own (`beat`). `offered_until` is empty while
the client is connected; otherwise it says how long it may take to come back. All times are PostgreSQL's.
"""

import time
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Now

from sessions.events import log
from sessions.models import OPEN_CALLS, Approval, ApprovalStatus, ToolCall, ToolCallStatus, Turn, TurnStatus, WebProcess
from sessions.results import Change
from sessions.statements import columns, prepared, row_of
from sessions.turns.server_tools import SERVER_TOOLS
from sessions.turns.tool_calls import open_calls, request_event
from sessions.turns.tool_policy import APPROVAL_TIMEOUT, shown_digest

logger = structlog.get_logger(__name__)

#: How long a client that was shown a call may be away before its user is asked.
RETURN_TIMEOUT = timedelta(seconds=60)
#: The same for a client of the OpenAI-compatible API, which has no connection while it runs a call.
REQUEST_TIMEOUT = timedelta(minutes=10)
#: A web process that has not renewed its row for this long has no sockets any more.
PROCESS_TIMEOUT = timedelta(seconds=15)
#: Seconds between two looks of the workers for calls of web processes that are gone.
GONE_INTERVAL_SECONDS = 5.0

#: Gives open calls of a session to a runner: those that are free, or its own. Returns all open calls that clients run,
#: and which of them the runner has. Of two runners at the same moment the second one waits for the lock on the row, and
#: then finds the name of the first one.
_OFFER = f"""
    WITH open AS MATERIALIZED (
        SELECT {columns(ToolCall, "call")}, (call.status = 'waiting' OR call.call_id = ANY(%s::varchar[])) AND (
            call.definition IS NULL OR call.definition->>'digest' = ANY(%s::text[]) OR call.offered_to = %s
        ) AS is_usable, (call.shown_at IS NOT NULL OR call.status = 'asked') AND call.offered_to = %s
            AND call.offered_by IS NOT DISTINCT FROM %s::uuid AND call.offered_until IS NULL AS is_held
        FROM agent_sessions_toolcall AS call JOIN agent_sessions_turn AS turn ON turn.id = call.turn_id
        WHERE turn.session_id = %s AND turn.status = 'waiting' AND call.status IN ('asked', 'waiting')
        AND NOT call.tool = ANY(%s::varchar[])
    ), taken AS (
        UPDATE agent_sessions_toolcall AS call SET offered_to = %s, offered_by = %s, offered_until = NULL,
            shown_at = CASE status WHEN 'waiting' THEN coalesce(shown_at, statement_timestamp()) END
        WHERE id IN (SELECT id FROM open WHERE is_usable AND NOT is_held) AND status IN ('asked', 'waiting') AND (
            offered_to = '' OR (offered_until IS NOT NULL AND shown_at IS NULL)
            OR (offered_to = %s AND (%s OR offered_by = %s OR offered_until IS NOT NULL OR offered_by IS NULL))
        ) RETURNING {columns(ToolCall, "call")}
    )
    SELECT {columns(ToolCall, "open")}, is_usable AND is_held FROM open
    WHERE NOT EXISTS (SELECT FROM taken WHERE taken.id = open.id)
    UNION ALL SELECT {columns(ToolCall, "taken")}, true FROM taken
"""
UNKNOWN = (
    "It is not known whether this call ran: the client that got it went away and sent no result. "
    "Approve it to run it again, or reject it."
)

_next_look_at = 0.0


def offer(
    session_id: uuid.UUID,
    runner: str,
    process: uuid.UUID,
    *,
    new_approvals: Collection[str],
    takes_over: bool,
    definitions: Collection[str] = (),
) -> tuple[list[ToolCall], set[str]]:
    """Give free calls of a session to a runner. Return the calls it has, and the ids of all open ones.

    `new_approvals` are the ids of calls that the runner may ask its user about. Of all others it gets those that may
    run. With `takes_over` it also gets what another socket of its own has: a client that reconnects comes before the
    end of its old socket is noticed. `definitions` are the hashes of the tools that the runner has defined: no other
    can run their calls.
    """
    usable = list(new_approvals), list(definitions), runner
    taken = runner, process, runner, takes_over, process
    found = prepared(_OFFER, *usable, runner, process, session_id, list(SERVER_TOOLS), *taken)
    calls = [(row_of(ToolCall, values), is_taken) for *values, is_taken in found]
    held = sorted((call for call, is_taken in calls if is_taken), key=lambda call: (call.created_at, call.pk))
    return held, {call.call_id for call, _ in calls}


def offer_to_request(turn_id: uuid.UUID, tools: Collection[str]) -> QuerySet[ToolCall]:
    """Give a client of the OpenAI-compatible API the calls of a turn that it can run now. Return those it has.

    Calls that require a user's approval are not among them, nor are the calls that another client was shown.
    """
    runner = f"openai {turn_id}"
    calls = ToolCall.objects.filter(turn=turn_id, turn__status=TurnStatus.WAITING, status=ToolCallStatus.WAITING)
    free = Q(offered_to__in=("", runner)) | Q(offered_until__isnull=False, shown_at=None)
    calls.filter(free, tool__in=tools).update(**{**_shown(runner, None), "offered_until": Now() + REQUEST_TIMEOUT})
    return calls.filter(offered_to=runner).order_by("created_at", "pk")


def release(session_id: uuid.UUID, runner: str, process: uuid.UUID, call_ids: Collection[str]) -> None:
    """Record that a runner's last socket is closed: it may come back for what it was shown, others get the rest."""
    # Only of this session: clients choose their names, and a client of another session may have the same one.
    calls = open_calls(session_id).filter(call_id__in=call_ids, offered_to=runner, offered_by=process).values("pk")
    rows = ToolCall.objects.filter(pk__in=calls)
    rows.filter(shown_at=None).update(offered_to="", offered_by=None, offered_until=None)
    rows.filter(shown_at__isnull=False).update(offered_until=Now() + RETURN_TIMEOUT)


def beat(process: uuid.UUID, session_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Record that the sockets of a process are open. Return those of the sessions in which a client may take a call."""
    _, is_new = WebProcess.objects.update_or_create(pk=process, defaults={"seen_at": Now()})
    if is_new:
        WebProcess.objects.filter(seen_at__lt=Now() - timedelta(days=1)).delete()
    notice_gone_processes()
    free = Q(offered_to="") | Q(offered_until__isnull=False)
    calls = ToolCall.objects.filter(free, turn__session__in=session_ids, turn__status=TurnStatus.WAITING)
    return set(calls.filter(status__in=OPEN_CALLS).values_list("turn__session_id", flat=True))


def notice_gone_processes() -> None:
    """Let the clients of web processes that are gone come back, from now on for RETURN_TIMEOUT.

    A process that was only frozen or cut off takes its clients' calls back with their next look.
    """
    alive = WebProcess.objects.filter(pk=OuterRef("offered_by"), seen_at__gt=Now() - PROCESS_TIMEOUT)
    held = ToolCall.objects.filter(status__in=OPEN_CALLS, offered_by__isnull=False, offered_until=None)
    held.filter(~Exists(alive)).update(offered_until=Now() + RETURN_TIMEOUT)


def lost_calls() -> list[uuid.UUID]:
    """Return calls for `ask_again`: their client did not come back in time. A worker looks for them all the time."""
    global _next_look_at  # noqa: PLW0603 (only a worker's lookout calls this)
    if time.monotonic() > _next_look_at:
        _next_look_at = time.monotonic() + GONE_INTERVAL_SECONDS
        notice_gone_processes()
    return list(_lost().values_list("pk", flat=True)[:100])


def ask_again(call_id: uuid.UUID) -> Change:
    """Make a lost call a question to the user. Does nothing when it is not lost any more or its session is locked."""
    session_id = ToolCall.objects.filter(pk=call_id).values_list("turn__session_id", flat=True).first()
    if session_id is None:
        return Change()
    with transaction.atomic():
        session = log.lock_if_free(session_id)
        # Offers lock the call alone: its client may be back at this moment.
        lost = _lost().filter(pk=call_id).select_related("turn").select_for_update(of=("self",))
        call = lost.first() if session else None
        if session is None or call is None:
            return Change()
        call.status, call.reason, call.rule = ToolCallStatus.ASKED, UNKNOWN, "unknown"
        call.offered_to, call.offered_by, call.offered_until, call.shown_at = "", None, None, None
        call.unknown_since = Now()
        call.save()
        pending: dict[str, Any] = {"status": ApprovalStatus.PENDING, "decided_at": None, "decided_by": None}
        pending |= {"via": "", "feedback": "", "digest": shown_digest(call), "expires_at": Now() + APPROVAL_TIMEOUT}
        Approval.objects.update_or_create(call=call, defaults=pending)
        # The user has as long for the answer as for any other.
        Turn.objects.filter(pk=call.turn_id).update(waiting_since=Now())
        events = log.append(session, [request_event(call)])
    logger.info("call_became_unknown", turn_id=str(call.turn_id), call=str(call_id))
    return Change(events=events)


def _lost() -> QuerySet[ToolCall]:
    rows = ToolCall.objects.filter(status=ToolCallStatus.WAITING, turn__status=TurnStatus.WAITING)
    return rows.filter(shown_at__isnull=False, offered_until__lt=Now())


def _shown(runner: str, process: uuid.UUID | None) -> dict[str, Any]:
    """Return the fields of a call that is about to be sent to a runner, committed before it is sent."""
    may_run = When(status=ToolCallStatus.WAITING, then=Coalesce(F("shown_at"), Now()))
    shown_at = Case(may_run, default=Value(None))
    return {"offered_to": runner, "offered_by": process, "offered_until": None, "shown_at": shown_at}
