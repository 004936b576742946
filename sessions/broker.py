"""Is Redis there? Asked before a message is taken, so that it is refused at once instead of lying unanswered."""

from __future__ import annotations

import asyncio
from functools import cache

from django.conf import settings
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: Seconds Redis may take to answer; it takes a fraction of a millisecond.
PATIENCE = 1.0


class BrokerUnavailable(Exception):
    """The server cannot pass work on at the moment; nothing was taken. Send it again in a moment."""

    def __str__(self) -> str:
        return self.__doc__ or ""


async def require_broker() -> None:
    """Return when Redis answers; raise BrokerUnavailable when it does not, within PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE):
            await _client(asyncio.get_running_loop()).ping()
    except (RedisError, OSError, TimeoutError) as error:
        raise BrokerUnavailable from error


@cache
def _client(_loop: asyncio.AbstractEventLoop) -> redis.Redis:
    # A client's connections belong to the loop that opened them.
    # The ordinary pool refuses whoever comes when all its connections are busy; this one lets them wait.
    pool = redis.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        max_connections=4,
        timeout=PATIENCE,
        # A connection that a restart of Redis has closed is replaced at once; the library's own pause before it tries
        # again is longer than our patience.
        retry=Retry(NoBackoff(), 1),
    )
    return redis.Redis(connection_pool=pool)
