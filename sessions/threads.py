"""Blocking work off the event loop: database and broker calls, each pool bounded, none shared with anything else.

Channels' own `database_sync_to_async` runs everything of a process in one thread by default; one slow query would then
hold up every socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from django.db import connection

_DATABASE = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")
_LOG = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
_BROKER = ThreadPoolExecutor(max_workers=4, thread_name_prefix="broker")


def in_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run a function that uses the database in a thread; its connection goes back to the pool afterwards."""
    return database_sync_to_async(function, thread_sensitive=False, executor=_DATABASE)


async def in_log_thread[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function of the writer, which commits many times a second, in a thread that keeps its connection.

    Taking a connection from the pool, and having it checked, costs more than a small batch itself. After an error the
    connection is thrown away; whoever called tries again.
    """

    def run() -> R:
        try:
            return function(*args, **kwargs)
        except DatabaseError:
            connection.close()
            raise

    return await asyncio.get_running_loop().run_in_executor(_LOG, run)


async def in_broker_thread[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that talks to the broker in a thread, so that a frozen broker holds up nothing else."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_BROKER, lambda: function(*args, **kwargs))
