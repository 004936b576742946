"""The broker of Celery tasks: checks that Redis answers, and enqueues turns.

A message is accepted only while Redis answers, so that it is rejected at once instead of waiting without an answer.
This module must never block an event loop. An event loop sends tasks of turns to Redis itself, and Celery writes them;
for everything else, and for other brokers, Celery's client runs in threads.
"""

import asyncio
import contextvars
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import structlog
from celery import current_app
from celery.signals import after_task_publish, before_task_publish
from django.conf import settings
from kombu import Connection
from kombu.transport import virtual
from kombu.utils.json import dumps
from kombu.utils.uuid import uuid as new_uuid
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sessions.errors import BrokerUnavailable

logger = structlog.get_logger(__name__)

TURN_TASK = "sessions.tasks.advance_turn"

_BROKER = ThreadPoolExecutor(max_workers=16, thread_name_prefix="broker")

#: Redis answers within a millisecond, but the whole machine may be busy. With the limits' own time for Redis it leaves
#: PostgreSQL enough of `sessions.api.commands.STORE_TIMEOUT_SECONDS`, so that a slow Redis is not blamed on it.
PING_TIMEOUT_SECONDS = 1.5
#: After this time a task is not sent: workers have found its turn by then.
ENQUEUE_TIMEOUT_SECONDS = 2.0


async def require_broker() -> None:
    """Raise BrokerUnavailable unless Redis answers within PING_TIMEOUT_SECONDS.

    Concurrent callers share one PING, because a burst of messages would queue for the answers.
    """
    loop = asyncio.get_running_loop()
    ping = _pings.get(loop)
    if ping is None or ping.done():
        ping = _pings[loop] = loop.create_task(_ping(loop))
    if not await asyncio.shield(ping):
        raise BrokerUnavailable


async def _ping(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        async with asyncio.timeout(PING_TIMEOUT_SECONDS):
            await _client(loop).ping()
    except (RedisError, OSError, TimeoutError):
        return False
    return True


#: The PING that concurrent callers share.
_pings: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[bool]] = WeakKeyDictionary()


@cache
def _client(_loop: asyncio.AbstractEventLoop) -> redis.Redis:
    # A client's connections belong to the loop that opened them. The ordinary pool raises an error when all of them are
    # busy; this one lets callers wait.
    pool = redis.BlockingConnectionPool.from_url(
        settings.REDIS_URL,
        socket_timeout=PING_TIMEOUT_SECONDS,
        socket_connect_timeout=PING_TIMEOUT_SECONDS,
        max_connections=4,
        timeout=PING_TIMEOUT_SECONDS,
        # After a restart of Redis a closed connection is replaced at once: the library's own pause before a retry is
        # longer than PING_TIMEOUT_SECONDS.
        retry=Retry(NoBackoff(), 1),
        # A new connection says no more than it must: each exchange takes a round trip.
        protocol=2,
        driver_info=None,
    )
    return redis.Redis(connection_pool=pool)


def enqueue_turn(turn_id: uuid.UUID) -> None:
    """Send a task for a turn. Never raises: without the broker, recovery finds the turn."""
    try:
        current_app.send_task(TURN_TASK, (str(turn_id),), retry=False)
    except Exception as error:
        logger.warning("task_not_sent", turn_id=str(turn_id), error=type(error).__name__)


def send_replay(replay_id: uuid.UUID) -> None:
    """Send a task for a replay. Never raises: without the broker the replay stays queued, and staff asks again."""
    try:
        current_app.send_task("sessions.tasks.replay_prompt", (str(replay_id),), retry=False)
    except Exception as error:
        logger.warning("task_not_sent", replay_id=str(replay_id), error=type(error).__name__)


async def enqueue_turn_soon(turn_id: uuid.UUID | None) -> None:
    """Enqueue a turn, if any, without blocking the event loop. Never raises."""
    if turn_id is None:
        return
    if outbox := _outbox(asyncio.get_running_loop()):
        await outbox.send(turn_id)
    else:
        await in_broker_thread(_enqueue_until, turn_id, time.monotonic() + ENQUEUE_TIMEOUT_SECONDS)


def _enqueue_until(turn_id: uuid.UUID, deadline: float) -> None:
    if time.monotonic() < deadline:
        enqueue_turn(turn_id)
    else:
        logger.warning("task_not_sent", turn_id=str(turn_id), error="the broker is slow")


async def in_broker_thread[**P, R](function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that calls the broker in a thread, so that a frozen broker delays nothing else."""
    loop = asyncio.get_running_loop()
    # The ids of the log context go with a task to its worker.
    call = partial(contextvars.copy_context().run, partial(function, *args, **kwargs))
    return await loop.run_in_executor(_BROKER, call)


class _Channel(virtual.Channel):
    """A channel of kombu that keeps messages, with their queues, instead of sending them."""

    kept: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        self.kept.append((queue, message))


class _Transport(virtual.Transport):
    Channel = _Channel


def _message_of(turn_id: uuid.UUID) -> tuple[str, str]:
    """Return the message of a turn's task, with its queue. Celery writes the task, and kombu the first message.

    The others copy what is the same in all: kombu and Celery's routes and options took two thirds of the time.
    """
    if not _Channel.kept:
        producer = current_app.amqp.Producer(Connection(transport=_Transport))
        current_app.send_task(TURN_TASK, (str(turn_id),), retry=False, producer=producer)
        queue, pattern = _Channel.kept[0]
        return queue, dumps(pattern)
    queue, pattern = _Channel.kept[0]
    task_id, arguments = new_uuid(), (str(turn_id),)
    task = current_app.amqp.create_task_message(
        task_id, TURN_TASK, arguments, argsrepr=repr(arguments), kwargsrepr="{}", ignore_result=None
    )
    facts: dict[str, Any] = {"body": task.body, "headers": task.headers, "exchange": "", "routing_key": queue}
    # A receiver of Django-structlog puts the ids of the log context into the headers.
    before_task_publish.send(TURN_TASK, **facts, declare=[], properties=task.properties, retry_policy={})
    properties = pattern["properties"] | {"correlation_id": task_id, "delivery_tag": new_uuid()}
    body = b64encode(dumps(task.body).encode()).decode()
    message = dumps(pattern | {"body": body, "headers": task.headers, "properties": properties})
    after_task_publish.send(TURN_TASK, **facts)
    return queue, message


class _Outbox:
    """Sends tasks of turns from an event loop. What comes while a command is under way goes together with the next one.

    The messages are those of Celery and kombu, and Celery's signals are sent as ever; `after_task_publish` comes a
    little earlier than the command. With kombu's own client a task took more than twice the time, in a thread
    (docs/decisions/0043-turns-without-a-thread-of-celery.md). A process has one event loop that sends tasks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._client, self._is_free = _client(loop), asyncio.Lock()
        self._waiting: dict[uuid.UUID, tuple[str, str]] = {}

    async def send(self, turn_id: uuid.UUID) -> None:
        """Send a task for a turn. Never raises: without the broker, recovery finds the turn."""
        self._waiting[turn_id] = _message_of(turn_id)
        async with self._is_free:
            tasks, self._waiting = self._waiting, {}
            if tasks:
                # Otherwise it went with the last command.
                await self._push(tasks)

    async def _push(self, tasks: Mapping[uuid.UUID, tuple[str, str]]) -> None:
        ((queue, _), *_) = tasks.values()
        try:
            async with asyncio.timeout(ENQUEUE_TIMEOUT_SECONDS):
                # kombu takes messages from the other end of the list, so this is their order.
                await self._client.lpush(queue, *(message for _, message in tasks.values()))
        except (RedisError, OSError, TimeoutError) as error:
            for turn_id in tasks:
                logger.warning("task_not_sent", turn_id=str(turn_id), error=type(error).__name__)


@cache
def _outbox(loop: asyncio.AbstractEventLoop) -> _Outbox | None:
    return _Outbox(loop) if current_app.conf.broker_url == settings.REDIS_URL else None
