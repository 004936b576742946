"""Blocking work off the event loop: database and broker calls, each pool bounded, none shared with anything else.

What runs here is one transaction, or may be repeated.

Channels' own `database_sync_to_async` runs everything of a process in one thread by default; one slow query would then
hold up every socket.
"""

from __future__ import annotations

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

#: Seconds after which a connection is looked at before it is used again.
MAX_UNCHECKED_SECONDS = 1.0

_used = threading.local()


def in_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run a function that uses the database in a thread, one of a few."""
    return _in_pool(_DATABASE, function)


def in_log_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run a function of the writer, which commits many times a second, in a thread that nobody else holds up."""
    return _in_pool(_LOG, function)


def _in_pool[**P, R](pool: ThreadPoolExecutor, function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # What is logged in the thread belongs to the turn or socket that asked.
        call = partial(contextvars.copy_context().run, _with_connection, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    return run


def _with_connection[R](function: Callable[[], R]) -> R:
    """Run a function with the thread's own connection, which stays open.

    To take one from the pool, and to have it looked at, costs more than most of what is done with it. So that is done
    only when it has not been used for a moment; after an error it is thrown away.
    """
    if time.monotonic() - getattr(_used, "at", 0.0) > MAX_UNCHECKED_SECONDS and not connection.is_usable():
        connection.close()
    again = False
    while True:
        try:
            return function()
        except DatabaseError as error:
            connection.close()
            if again or not _was_slow(error):
                raise
            again = True
        finally:
            _used.at = time.monotonic()


def _was_slow(error: DatabaseError) -> bool:
    """Say whether PostgreSQL has ended the transaction because this process paused in it; then nothing was stored.

    That is meant for a process that froze. One that is only busy does it again.
    """
    return "idle-in-transaction timeout" in str(error)


@contextmanager
def atomic_until(deadline: float) -> Iterator[None]:
    """A transaction that is not committed after the deadline.

    A database that was frozen and thaws would otherwise commit what its client has long been told was refused.
    """
    with transaction.atomic():
        yield
        if time.monotonic() > deadline:
            raise TooLate


class TooLate(TimeoutError):
    """The caller stopped waiting and has told the client so; the transaction is rolled back."""


def rows(statement: LiteralString, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
