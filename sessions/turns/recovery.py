"""Recovery of turns: those that no worker claimed, whose lease expired, or whose tools sent no result in time.

The workers run it several times a second (`sessions.worker.lookout`), so turns continue without Redis or beat. They run
it at the same time, so each turn is checked again under its session's lock. A turn whose recovery fails must never cost
other turns anything.
"""

import uuid
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from sessions import metrics
from sessions.billing import ledger
from sessions.database import describe, is_statement_timeout, is_temporary, rows
from sessions.errors import InternalError
from sessions.events import log
from sessions.events.log import LoggedEvent
from sessions.models import ModelCallOutcome, Session, Turn, TurnStatus, new_id
from sessions.protocol.codes import ErrorCode, Rejected
from sessions.results import Change
from sessions.statements import atomic
from sessions.turns.transcript import store_unfinished
from sessions.turns.transitions import end_as_failed, next_ready_turn, requeue

logger = structlog.get_logger(__name__)

#: The turn fails when this many leases in a row have expired.
MAX_LOST_LEASES = 3
#: How long a queued turn waits for its task before a worker claims it without one.
TASK_TIMEOUT = timedelta(seconds=2)
#: How long a turn waits for results of the client's tools.
TOOL_TIMEOUT = timedelta(hours=24)
#: How long a turn is left alone by other workers when one has chosen to recover it, and when one has chosen to claim
#: it: a claim may have to wait for the lock of its session.
RECOVERY_PAUSE, CLAIM_PAUSE = timedelta(seconds=1), timedelta(seconds=5)
#: The pause after the first recovery that raised an error. Each further one doubles it, up to the highest.
MIN_FAILURE_PAUSE, MAX_FAILURE_PAUSE = timedelta(seconds=1), timedelta(minutes=1)
#: After this many, the turn is ended without its text, which is what mostly makes a recovery fail.
MAX_RECOVERY_FAILURES = 3
#: Turns that one look recovers.
MAX_EXPIRED_TURNS = 500

#: Chooses turns, so that other workers choose others. Rows that are locked belong to a worker that is at it.
_CHOOSE = """
    WITH chosen AS MATERIALIZED ({}), marked AS (
        UPDATE agent_sessions_turn AS turn SET recover_after = statement_timestamp() + %s
        FROM chosen WHERE turn.id = chosen.id
    )
    SELECT id FROM chosen
"""
_IS_DUE = "(recover_after IS NULL OR recover_after < statement_timestamp())"
#: Those whose recovery has failed come last: they may be slow.
_EXPIRED = _CHOOSE.format(f"""
    SELECT id, recovery_failures FROM (
        SELECT id, recovery_failures FROM agent_sessions_turn
        WHERE status = 'running' AND lease_expires_at < statement_timestamp() AND {_IS_DUE}
        ORDER BY recovery_failures, lease_expires_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
    ) AS without_lease UNION ALL SELECT id, recovery_failures FROM (
        SELECT id, recovery_failures FROM agent_sessions_turn
        WHERE status = 'waiting' AND waiting_since < statement_timestamp() - %s AND {_IS_DUE}
        ORDER BY waiting_since LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
    ) AS without_result ORDER BY recovery_failures
""")
_UNCLAIMED = _CHOOSE.format(f"""
    SELECT id FROM agent_sessions_turn AS turn
    WHERE status = 'queued' AND queued_at <= statement_timestamp() AND {_IS_DUE}
    AND (retry_at IS NOT NULL OR queued_at < statement_timestamp() - %s) AND NOT EXISTS (
        SELECT FROM agent_sessions_turn AS earlier
        WHERE earlier.session_id = turn.session_id AND earlier.position < turn.position
        AND earlier.status IN ('queued', 'running', 'waiting')
    )
    ORDER BY queued_at LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
""")
_COUNT_FAILURE = """
    UPDATE agent_sessions_turn SET
        recovery_failures = recovery_failures + 1,
        recover_after = statement_timestamp() + least(%s * power(2, least(recovery_failures, 20)), %s)
    WHERE id = %s RETURNING recovery_failures
"""


def expired_turns() -> list[uuid.UUID]:
    """Choose turns for `recover`: their lease has expired, or their tools sent no result in time.

    For a moment other workers do not get them.
    """
    limit = MAX_EXPIRED_TURNS
    return [turn_id for (turn_id,) in rows(_EXPIRED, limit, TOOL_TIMEOUT, limit, RECOVERY_PAUSE)]


def unclaimed_turns(limit: int) -> list[uuid.UUID]:
    """Choose unclaimed turns that are next in their session, the one that waits longest first.

    Among them are those whose provider asked to wait, as soon as the wait is over: no task brings them. For a moment
    other workers do not get them.
    """
    return [turn_id for (turn_id,) in rows(_UNCLAIMED, TASK_TIMEOUT, limit, CLAIM_PAUSE)] if limit else []


def recover(turn_id: uuid.UUID) -> Change:
    """Queue an expired turn again, or end it as failed.

    Does nothing when the turn is no longer expired or its session is locked: a frozen process that holds the lock must
    not delay all other turns, and the next run is a second away.
    """
    error_code: ErrorCode | None = None
    with atomic():
        locked = _lock_expired(turn_id)
        if locked is None:
            return Change()
        session, turn = locked
        if turn.status == TurnStatus.WAITING:
            error_code = ErrorCode.TOOL_TIMED_OUT
            events = end_as_failed(session, turn, error_code, "The client did not send the result of a tool in time.")
        else:
            ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
            if turn.lost_leases + 1 >= MAX_LOST_LEASES:
                error_code = ErrorCode.TOO_MANY_ATTEMPTS
                text = f"The answer was started {MAX_LOST_LEASES} times, and its worker was lost each time."
                events = store_unfinished(session, turn) + end_as_failed(session, turn, error_code, text)
            else:
                events = requeue(session, turn, lost_leases=turn.lost_leases + 1)
        ready = next_ready_turn(session)
    if error_code:
        metrics.turn_ended(turn, TurnStatus.FAILED, error_code)
    return Change(events=events, ready=ready)


def put_back(session_id: uuid.UUID, turn_id: uuid.UUID) -> Change:
    """Queue a turn again that runs or waits for its provider, because an operator wants it. Raises Rejected.

    Its worker may still be alive: its writes are refused from then on, and another attempt repeats the step.
    """
    with atomic():
        session = log.lock(session_id)
        turn = session.turns.filter(pk=turn_id, status__in=(TurnStatus.RUNNING, TurnStatus.QUEUED)).first()
        if turn is None:
            raise Rejected(ErrorCode.NOTHING_TO_CANCEL, "Only a turn that runs or is queued can be put back.")
        events: list[LoggedEvent] = []
        if turn.status == TurnStatus.RUNNING:
            ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
            events = requeue(session, turn)
        else:
            # Its provider's wait, and the pauses of workers that tried it, are over.
            Turn.objects.filter(pk=turn.pk).update(retry_at=None, recover_after=None, queued_at=Now())
        ready = next_ready_turn(session)
    return Change(events=events, ready=ready)


def recover_safely(turn_id: uuid.UUID) -> Change:
    """Recover a turn. When that fails again and again, end the turn without its text. Raises when that fails, too."""
    try:
        return recover(turn_id)
    except Exception as error:
        if is_temporary(error) and not is_statement_timeout(error):
            # The database is away or busy, which is not the turn's fault.
            raise
        counted = rows(_COUNT_FAILURE, MIN_FAILURE_PAUSE, MAX_FAILURE_PAUSE, turn_id)
        failures = counted[0][0] if counted else 0
        logger.warning("turn_not_recovered", turn_id=str(turn_id), failures=failures, **describe(error))
        return give_up(turn_id) if failures >= MAX_RECOVERY_FAILURES else Change()


def give_up(turn_id: uuid.UUID) -> Change:
    """End an expired turn that cannot be recovered, without its text and, if need be, without its model call."""
    error_id = new_id()
    crash = InternalError(error_id)
    with atomic():
        locked = _lock_expired(turn_id)
        if locked is None:
            return Change()
        session, turn = locked
        if turn.status == TurnStatus.RUNNING:
            _try_to_record(session, turn)
        events: list[LoggedEvent] = end_as_failed(session, turn, crash.code, str(crash))
        ready = next_ready_turn(session)
    logger.error("turn_given_up", turn_id=str(turn_id), error_id=str(error_id))
    metrics.turn_ended(turn, TurnStatus.FAILED, crash.code)
    return Change(events=events, ready=ready)


def _try_to_record(session: Session, turn: Turn) -> None:
    try:
        with transaction.atomic():
            ledger.record_unseen(session, turn, ModelCallOutcome.LOST)
    except Exception as error:
        logger.warning("model_call_not_recorded", turn_id=str(turn.pk), **describe(error))


def _lock_expired(turn_id: uuid.UUID) -> tuple[Session, Turn] | None:
    """Return an expired turn and its session, locked, or None when it is not expired or its session is locked."""
    session_id = Turn.objects.filter(pk=turn_id).values_list("session_id", flat=True).first()
    session = log.lock_if_free(session_id) if session_id else None
    if session is None:
        return None
    no_lease = Q(status=TurnStatus.RUNNING, lease_expires_at__lt=Now())
    no_result = Q(status=TurnStatus.WAITING, waiting_since__lt=Now() - TOOL_TIMEOUT)
    turn = Turn.objects.filter(no_lease | no_result, pk=turn_id).first()
    return (session, turn) if turn else None
