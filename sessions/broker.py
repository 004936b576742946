"""Is Redis there? Asked before a message is taken, so that it is refused at once instead of lying unanswered."""

from __future__ import annotations

import asyncio
from functools import cache
from weakref import WeakKeyDictionary

from django.conf import settings
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

#: Seconds Redis may take to answer; it takes a fraction of a millisecond, but the whole machine may be busy.
PATIENCE = 2.0


class BrokerUnavailable(Exception):
    """The server cannot pass work on at the moment; nothing was taken. Send it again in a moment."""

    def __str__(self) -> str:
        return self.__doc__ or ""


async def require_broker() -> None:
    """Return when Redis answers; raise BrokerUnavailable when it does not, within PATIENCE.

    It is asked once for all who want to know at the same time: a burst of messages would queue for its answers.
    """
    loop = asyncio.get_running_loop()
    asking = _asking.get(loop)
    if asking is None or asking.done():
        asking = _asking[loop] = loop.create_task(_answers(loop))
    if not await asyncio.shield(asking):
        raise BrokerUnavailable


async def _answers(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            await _client(loop).ping()
    except (RedisError, OSError, TimeoutError):
        return False
    return True


#: The question that is being asked at the moment.
_asking: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[bool]] = WeakKeyDictionary()


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
