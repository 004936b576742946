"""Runs database functions in threads, off the event loop.

A function may run twice, so it must be a single transaction or safe to repeat. Channels' own `database_sync_to_async`
runs all functions of a process in one thread by default, where one slow query would delay every socket.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, LiteralString

from django.db import Error as DatabaseError
from django.db import connection, transaction

_DATABASE = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")
_LOG = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")

#: Seconds that a connection may be idle and is used again without a check.
MAX_UNCHECKED_SECONDS = 1.0

_thread = threading.local()


def in_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function that uses the database run in one of a few threads."""
    return _in_pool(_DATABASE, function)


def in_log_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make a function of the writer, which commits many times a second, run in a thread of its own."""
    return _in_pool(_LOG, function)


def _in_pool[**P, R](pool: ThreadPoolExecutor, function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # Log lines of the thread keep the ids of the caller's turn or socket.
        call = partial(contextvars.copy_context().run, _with_connection, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    return run


def _with_connection[R](function: Callable[[], R]) -> R:
    """Run a function with the thread's own connection, which stays open until an error.

    A connection from the pool, and its check, would cost more than most queries. So only an idle connection is checked.
    """
    idle_seconds = time.monotonic() - getattr(_thread, "used_at", 0.0)
    if idle_seconds > MAX_UNCHECKED_SECONDS and not connection.is_usable():
        connection.close()
    is_retry = False
    while True:
        try:
            return function()
        except DatabaseError as error:
            connection.close()
            # The timeout is for processes that freeze. It rolled the transaction back, so a busy process tries again.
            if is_retry or "idle-in-transaction timeout" not in str(error):
                raise
            is_retry = True
        finally:
            _thread.used_at = time.monotonic()


@contextmanager
def atomic_until(deadline: float) -> Iterator[None]:
    """Open a transaction that must not commit after the deadline; raise TooLate then.

    Otherwise a database that was frozen would commit what a client was told is rejected.
    """
    with transaction.atomic():
        yield
        if time.monotonic() > deadline:
            raise TooLate


class TooLate(TimeoutError):
    """The client was told that the request failed; the transaction is rolled back."""


def rows(statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        result: list[tuple[Any, ...]] = cursor.fetchall()
        return result
