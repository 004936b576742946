"""Runs database functions in threads, off the event loop, and tells errors that pass from those that do not.

A function may run twice, so it must be a single transaction or safe to repeat. Channels' own `database_sync_to_async`
runs all functions of a process in one thread by default, where one slow query would delay every socket.

The few threads are shared by all users, so none of them may wait long for a row that one user's work has locked: the
function gives up, and runs again after a pause without a thread.
"""

import asyncio
import contextvars
import math
import random
import select
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial, wraps
from pathlib import PurePath
from typing import Any, LiteralString

import structlog
from django.db import DataError, InterfaceError, OperationalError, connection, transaction
from django.db import Error as DatabaseError
from django.utils import timezone
from psycopg import errors

from sessions import statements

logger = structlog.get_logger(__name__)

_DATABASE = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")
_LOG = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
_LOOK = ThreadPoolExecutor(max_workers=1, thread_name_prefix="look")
_RECOVERY = ThreadPoolExecutor(max_workers=4, thread_name_prefix="recovery")
_URGENT = ThreadPoolExecutor(max_workers=2, thread_name_prefix="urgent")
_DELETION = ThreadPoolExecutor(max_workers=1, thread_name_prefix="deletion")
_FEEDS = ThreadPoolExecutor(max_workers=3, thread_name_prefix="feeds")

#: Clocks of machines that are synchronised differ by milliseconds.
MAX_UNLOGGED_SKEW = timedelta(seconds=2)
#: Seconds that a connection may be idle and is used again without a check.
MAX_UNCHECKED_SECONDS = 1.0

#: How long a thread of ours waits for a locked row, and other threads.
THREAD_LOCK_TIMEOUT, LOCK_TIMEOUT = "50ms", "5s"
#: Seconds after which a function stops waiting for a locked row.
MAX_LOCK_SECONDS = 5.0
#: Seconds without a thread before another try: at first, and at most.
MIN_LOCK_PAUSE_SECONDS, MAX_LOCK_PAUSE_SECONDS = 0.02, 0.1

_thread = threading.local()

#: Errors outside of OperationalError that pass: the server ended an idle transaction, has just become a standby, or a
#: migration has changed what a prepared statement returns, which the next connection plans anew.
_TEMPORARY = (
    errors.IdleInTransactionSessionTimeout,
    errors.TransactionTimeout,
    errors.ReadOnlySqlTransaction,
    errors.FeatureNotSupported,
)
#: Errors of psycopg's OperationalError that do not pass: something is too large or too deep (class 54 of SQLSTATE).
_PERMANENT = (errors.ProgramLimitExceeded, errors.StatementTooComplex)


def is_temporary(error: BaseException) -> bool:
    """Return whether the database was away or busy, so that the same transaction may succeed in a moment.

    All other errors are about what was to be stored (a character, a number, a size) or about a fault of ours. The same
    transaction would meet them again, so it must not be repeated.
    """
    cause = error.__cause__
    if isinstance(cause, _PERMANENT):
        return False
    return isinstance(error, OperationalError | InterfaceError) or isinstance(cause, _TEMPORARY)


def is_unstorable(error: BaseException) -> bool:
    """Return whether the database refused a value: its characters, its range or its size."""
    return isinstance(error, DataError | UnicodeEncodeError) or isinstance(error.__cause__, _PERMANENT)


def is_statement_timeout(error: BaseException) -> bool:
    """Return whether a statement took too long. It passes when the database was busy, but not when it is too large."""
    return isinstance(error.__cause__, errors.QueryCanceled)


def describe(error: BaseException) -> dict[str, Any]:
    """Return the fields of a log line about a fault: the traceback, and of errors of the database no text of users.

    PostgreSQL quotes what it refuses.
    """
    faults = [each for each in (error, error.__cause__) if isinstance(each, DatabaseError)]
    if not faults:
        return {"exc_info": error}
    fault = faults[0]
    diagnosis = fault.__cause__.diag if isinstance(fault.__cause__, errors.Error) else None
    names = ("sqlstate", "table_name", "column_name", "constraint_name")
    details = {name: getattr(diagnosis, name) for name in names if getattr(diagnosis, name, None)}
    stack = [
        f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(fault.__traceback__)
    ]
    return {"error": type(fault).__name__, **details, "stack": stack}


def _is_lock_timeout(error: BaseException) -> bool:
    return isinstance(error.__cause__, errors.LockNotAvailable)


def lock_timeout() -> str:
    """Return how long the current thread may wait for a locked row."""
    return THREAD_LOCK_TIMEOUT if getattr(_thread, "is_shared", False) else LOCK_TIMEOUT


def in_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function that uses the database run in one of a few threads."""
    return _in_pool(_DATABASE, function)


def in_log_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function of the writer, which commits many times a second, run in a thread of its own."""
    return _in_pool(_LOG, function)


def in_look_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function that looks for turns without a worker run in a thread of its own, so that it is never late."""
    return _in_pool(_LOOK, function)


def in_recovery_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function that recovers a turn, which may be slow, run where it delays nothing but other recoveries."""
    return _in_pool(_RECOVERY, function)


def in_urgent_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a short function that a person waits for, as for a stop, run without waiting for other work."""
    return _in_pool(_URGENT, function)


def in_deletion_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function that deletes a piece of something large run one at a time, so that it delays no other work."""
    return _in_pool(_DELETION, function)


def in_feed_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function that reads the log for clients run without waiting for other work."""
    return _in_pool(_FEEDS, function)


def _in_pool[**P, R](pool: ThreadPoolExecutor, function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # Log lines of the thread keep the ids of the caller's turn or socket.
        call = partial(contextvars.copy_context().run, _with_connection, partial(function, *args, **kwargs))
        deadline, pause = time.monotonic() + MAX_LOCK_SECONDS, MIN_LOCK_PAUSE_SECONDS
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, call)
            except OperationalError as error:
                if not _is_lock_timeout(error) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, MAX_LOCK_PAUSE_SECONDS)

    return run


def _with_connection[R](function: Callable[[], R]) -> R:
    """Run a function with the thread's own connection, which stays open until an error.

    A connection from the pool, and its check, would cost more than most queries. So only an idle connection is checked,
    and one whose server has said something, which is the end of the connection most of the time.
    """
    _thread.is_shared = True
    idle_seconds = time.monotonic() - getattr(_thread, "used_at", 0.0)
    if (idle_seconds > MAX_UNCHECKED_SECONDS or _has_input()) and not connection.is_usable():
        connection.close()
    is_retry = False
    while True:
        try:
            return function()
        except DatabaseError as error:
            connection.close()
            # Either rolled the transaction back. The timeout is for processes that freeze, and this one was only busy.
            is_outdated = isinstance(error.__cause__, errors.FeatureNotSupported)
            if is_retry or not (is_outdated or "idle-in-transaction timeout" in str(error)):
                raise
            is_retry = True
        finally:
            _thread.used_at = time.monotonic()


def _has_input() -> bool:
    """Return whether something has arrived on the thread's connection since its last statement."""
    wrapped = connection.connection
    if wrapped is None or wrapped.closed:
        return False
    poll = select.poll()
    poll.register(wrapped.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def atomic_until(deadline: float) -> Iterator[None]:
    """Open a transaction that must not commit after the deadline; raise TooLate then.

    Otherwise a database that was frozen would commit what a client was told is rejected. PostgreSQL checks the time
    once more before the COMMIT, because writes go with it.
    """
    late = None if deadline == math.inf else TooLate()
    with statements.atomic(deadline, late):
        yield
        if time.monotonic() > deadline:
            raise TooLate


@contextmanager
def one_state() -> Iterator[None]:
    """Open a transaction for reading, whose queries all see the same state without locking anything."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


class TooLate(TimeoutError):
    """The client was told that the request failed; the transaction is rolled back."""


def clock_skew() -> timedelta:
    """Return how far this machine's clock is ahead of the database's, which decides; negative when it is behind."""
    before = timezone.now()
    ((at_database,),) = rows("SELECT clock_timestamp()")
    skew: timedelta = before + (timezone.now() - before) / 2 - at_database
    return skew


def log_skew(skew: timedelta) -> None:
    """Tell the operator of a clock that is wrong: times in logs and of model calls are wrong, too."""
    if abs(skew) > MAX_UNLOGGED_SKEW:
        logger.warning("clock_differs_from_database", seconds_ahead=round(skew.total_seconds(), 1))


async def check_clock() -> None:
    """Log a wrong clock at the start of a process, unless the database is away."""
    with suppress(DatabaseError):
        log_skew(await in_thread(clock_skew)())


def rows(statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        result: list[tuple[Any, ...]] = cursor.fetchall()
        return result
