"""Is Redis there? Asked before a message is taken, so that it is refused at once instead of lying unanswered."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from weakref import WeakKeyDictionary

import structlog
from celery import current_app
from django.conf import settings
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sessions.errors import BrokerUnavailable

logger = structlog.get_logger(__name__)

_BROKER = ThreadPoolExecutor(max_workers=4, thread_name_prefix="broker")

#: Seconds Redis may take to answer; it takes a fraction of a millisecond, but the whole machine may be busy.
PING_TIMEOUT_SECONDS = 2.0


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
        async with asyncio.timeout(PING_TIMEOUT_SECONDS):
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
        socket_timeout=PING_TIMEOUT_SECONDS,
        socket_connect_timeout=PING_TIMEOUT_SECONDS,
        max_connections=4,
        timeout=PING_TIMEOUT_SECONDS,
        # A connection that a restart of Redis has closed is replaced at once; the library's own pause before it tries
        # again is longer than our patience.
        retry=Retry(NoBackoff(), 1),
    )
    return redis.Redis(connection_pool=pool)


def enqueue_turn(turn_id: uuid.UUID) -> None:
    """Send a task for a turn. Never raises: without the broker, recovery finds the turn."""
    try:
        current_app.send_task("sessions.tasks.advance_turn", (str(turn_id),), retry=False)
    except Exception as error:
        logger.warning("task_not_sent", turn_id=str(turn_id), error=type(error).__name__)


async def enqueue_turn_soon(turn_id: uuid.UUID | None) -> None:
    """Tell the workers of a turn, if any, without holding up the event loop."""
    if turn_id is not None:
        await in_broker_thread(enqueue_turn, turn_id)


async def in_broker_thread[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that talks to the broker in a thread, so that a frozen broker holds up nothing else."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_BROKER, lambda: function(*args, **kwargs))
