"""Repeated requests: finds the turn that a request means, and cancels turns that no connection follows any more.

Clients repeat a request whose answer they have lost. The same turn then answers it, so that it is paid for once. Equal
requests alone are not repetitions: people ask a model several times to compare its answers.

A connection that ends before the answer is taken off the turn's `followers`. The turn goes on for a moment, because
the client may be about to repeat the request.
"""

import math
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from psycopg import errors

from sessions import metrics
from sessions.database import atomic_until, rows
from sessions.events import log
from sessions.models import OPEN_STATUSES, Completion, CompletionApi, Session, Turn, TurnStatus
from sessions.results import AcceptedMessage, Change
from sessions.turns import completions
from sessions.turns.completions import CompletionRequest
from sessions.turns.transitions import end_as_cancelled, next_ready_turn

#: How old the earlier request may be: with the same `Idempotency-Key`, or when the client or its session says that it
#: is repeated.
MAX_KEY_AGE, MAX_AGE = timedelta(hours=24), timedelta(minutes=10)
#: How long ago the earlier connection may have been lost. A request may then be repeated without a word.
MAX_LOST_AGE = timedelta(seconds=60)
#: After this its own process has cancelled a turn that was lost, if it still runs.
ABANDONED_AGE = timedelta(minutes=2)

#: The request with a key, or else an equal one: one whose connection was lost and that can be answered, or the newest.
_FIND = """
    SELECT completion.id, turn.id, turn.session_id, turn.status, completion.fingerprint, completion.lost_at,
        found.has_key, completion.created_at > statement_timestamp() - %s,
        completion.created_at > statement_timestamp() - %s OR turn.status = ANY(%s), session.deleted_at IS NOT NULL
    FROM (
        SELECT id, true AS has_key FROM agent_sessions_completion WHERE idempotency_key = %s
        UNION ALL (
            SELECT equal.id, false FROM agent_sessions_completion AS equal
            JOIN agent_sessions_turn AS turn ON turn.id = equal.turn_id
            JOIN agent_sessions_session AS session ON session.id = turn.session_id AND session.deleted_at IS NULL
            WHERE equal.fingerprint = %s AND equal.created_at > statement_timestamp() - %s
                AND (%s OR equal.lost_at > statement_timestamp() - %s)
            ORDER BY equal.lost_at IS NULL OR turn.status <> ALL(%s), equal.created_at DESC LIMIT 1
        )
    ) AS found
    JOIN agent_sessions_completion AS completion USING (id)
    JOIN agent_sessions_turn AS turn ON turn.id = completion.turn_id
    JOIN agent_sessions_session AS session ON session.id = turn.session_id
    ORDER BY found.has_key DESC LIMIT 1
"""
#: Follows a turn, unless another repetition has taken it in the meantime.
_FOLLOW = """
    UPDATE agent_sessions_completion SET followers = greatest(followers, 0) + 1, lost_at = NULL
    WHERE id = %s AND lost_at IS NOT DISTINCT FROM %s RETURNING id
"""
#: The same for a client that knows the turn.
_FOLLOW_TURN = """
    UPDATE agent_sessions_completion SET followers = greatest(followers, 0) + 1, lost_at = NULL
    WHERE turn_id = %s RETURNING id
"""
#: How it is now: the statement before has waited for whatever was about to cancel the turn.
_STATE = """
    SELECT turn.status, session.last_number FROM agent_sessions_turn AS turn
    JOIN agent_sessions_session AS session ON session.id = turn.session_id WHERE turn.id = %s
"""
_LEAVE = """
    UPDATE agent_sessions_completion
    SET followers = followers - 1, lost_at = CASE WHEN followers <= 1 THEN clock_timestamp() END
    WHERE turn_id = %s RETURNING lost_at
"""
#: Turns with these can answer a repeated request.
_ANSWERING = (*OPEN_STATUSES, TurnStatus.COMPLETED)


class KeyReused(Exception):
    """An `Idempotency-Key` came with another request than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What tells whether a request repeats another one of the same user."""

    fingerprint: str
    #: Marks repetitions by itself. Empty: nothing does.
    key: str = ""
    #: The client has chosen the key, so it belongs to one request.
    is_named: bool = False
    #: The client says that it repeats a request.
    is_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The turn that answers a repeated request, and the number of the newest event of its session."""

    session_id: uuid.UUID
    turn_id: uuid.UUID
    last_number: int


def marks_of(
    owner_id: int, api: CompletionApi, digest: str, *, key: str = "", client: Sequence[str] = (), is_retry: bool = False
) -> Marks:
    """Return the marks of a request with this digest of its body.

    `key` is the client's `Idempotency-Key`; `client` names the client's session and agent, where it has one.
    """
    fingerprint = _hash(str(owner_id), api, digest)
    if key:
        return Marks(fingerprint=fingerprint, key=_hash("key", str(owner_id), api, key), is_named=True)
    if any(client):
        return Marks(fingerprint=fingerprint, key=_hash("client", fingerprint, *client), is_retry=is_retry)
    return Marks(fingerprint=fingerprint, is_retry=is_retry)


def _hash(*parts: str) -> str:
    return sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


def accept(
    owner_id: int,
    request: CompletionRequest,
    marks: Marks,
    *,
    api_key: uuid.UUID | None = None,
    deadline: float = math.inf,
) -> AcceptedMessage | Repeated:
    """Accept a request, or find the turn of the one that it repeats. Raises KeyReused; on TooLate nothing is stored."""
    fields = {"fingerprint": marks.fingerprint, "idempotency_key": marks.key or None}
    while True:
        try:
            with atomic_until(deadline):
                return _follow(marks) or completions.store(owner_id, request, api_key, **fields)
        except IntegrityError as error:
            # Two with one key at the same time: the other one is there now.
            if not _is_taken(error):
                raise


def _follow(marks: Marks) -> Repeated | None:
    """Return the turn that a repeated request means, followed by one more connection. None: the request is new.

    Frees the key for a new request.
    """
    # A client that names its requests names those that it repeats.
    fingerprint = None if marks.is_named else marks.fingerprint
    equal = (fingerprint, MAX_AGE, marks.is_retry, MAX_LOST_AGE, list(_ANSWERING))
    parameters = (MAX_KEY_AGE, MAX_AGE, list(OPEN_STATUSES), marks.key or None, *equal)
    # Each time another repetition has taken the turn that was found.
    while found := rows(_FIND, *parameters):
        pk, turn_id, session_id, status, earlier, lost_at, has_key, is_key_valid, is_recent, is_deleted = found[0]
        if has_key and marks.is_named and is_key_valid and not is_deleted and earlier != marks.fingerprint:
            raise KeyReused
        is_valid = is_recent or (marks.is_named and is_key_valid)
        if is_valid and status in _ANSWERING and not is_deleted:
            if not rows(_FOLLOW, pk, lost_at):
                continue
            ((status, last_number),) = rows(_STATE, turn_id)
            if status in _ANSWERING:
                return Repeated(session_id=session_id, turn_id=turn_id, last_number=last_number)
        if has_key:
            Completion.objects.filter(pk=pk).update(idempotency_key=None)
        return None
    return None


def follow(turn_id: uuid.UUID) -> int | None:
    """Add a connection that follows a turn from its beginning. Return the number of the newest event of its session.

    None: the turn does not exist any more.
    """
    if not rows(_FOLLOW_TURN, turn_id):
        return None
    found: list[tuple[str, int]] = rows(_STATE, turn_id)
    return found[0][1] if found else None


def _is_taken(error: IntegrityError) -> bool:
    cause = error.__cause__
    return isinstance(cause, errors.UniqueViolation) and cause.diag.constraint_name == "completion_key_once"


def leave(turn_id: uuid.UUID) -> datetime | None:
    """Take off a connection that has ended before the answer. Return when, if it was the last one."""
    left: list[tuple[datetime | None]] = rows(_LEAVE, turn_id)
    return left[0][0] if left else None


def cancel_lost(session_id: uuid.UUID, turn_id: uuid.UUID, lost_at: datetime) -> Change:
    """Cancel a turn that no connection has followed since then. Raises Session.DoesNotExist."""
    with transaction.atomic():
        session = log.lock(session_id)
        # A repeated request that wants to follow waits for this lock, and then sees a cancelled turn.
        lost = Completion.objects.select_for_update().filter(turn=turn_id, followers__lte=0, lost_at=lost_at)
        turn = session.turns.filter(pk=turn_id, status__in=OPEN_STATUSES).first()
        if turn is None or not lost.values_list("pk").first():
            return Change()
        events = end_as_cancelled(session, turn)
        ready = next_ready_turn(session)
    metrics.turn_ended(turn, TurnStatus.CANCELLED)
    return Change(events=events, ready=ready)


def cancel_abandoned(deadline: float) -> int:
    """Cancel the turns that a process was about to cancel when it ended; return how many.

    Nothing follows them, so nothing waits to be told. A worker that runs one learns it when it writes.
    """
    lost = Turn.objects.filter(
        status__in=OPEN_STATUSES, completion__followers__lte=0, completion__lost_at__lt=Now() - ABANDONED_AGE
    )
    cancelled = 0
    for turn_id, session_id, lost_at in lost.values_list("pk", "session_id", "completion__lost_at"):
        if time.monotonic() > deadline:
            break
        with suppress(Session.DoesNotExist):
            cancelled += bool(lost_at and cancel_lost(session_id, turn_id, lost_at).events)
    return cancelled
