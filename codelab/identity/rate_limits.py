"""Counts uses for rate limits, in Redis for all web processes together.

One round trip checks and counts any number of counters. While Redis is away or slow each process counts alone: limits
are then too generous, but lock no user out and delay no request. Every function waits for Redis and belongs in a
thread; from an event loop use `in_counter_thread`. Keys in Redis are digests, so that they never contain text of a
client.
"""

import asyncio
import hashlib
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

logger = structlog.get_logger(__name__)

#: The setting that switches a limit off.
OFF = "off"
#: For each exchange with Redis, which answers within a millisecond.
REDIS_TIMEOUT_SECONDS = 0.25
#: Redis counts as slow, and is not used, after so many answers in a row that took longer. One slow answer is often the
#: fault of a busy web process.
SLOW_ANSWER_SECONDS, MAX_SLOW_ANSWERS = 0.1, 3
#: Redis is then not used for this long; afterwards one caller tries.
REDIS_RETRY_DELAY_SECONDS = 5.0
KEY_PREFIX = "codelab:limit"

#: As many as may wait for Redis before the first of them finds out that it is slow.
_THREADS = ThreadPoolExecutor(max_workers=16, thread_name_prefix="counters")

#: For each key its limit, its seconds and the uses to count; none only asks. Counts all of them or none, and returns
#: the place of the first that has no room, with the milliseconds until it has.
_HIT = """
for i, key in ipairs(KEYS) do
    local limit, seconds, uses = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
    if tonumber(redis.call('GET', key) or 0) + math.max(uses, 1) > limit then
        local left = redis.call('PTTL', key)
        return {i, left > 0 and left or seconds * 1000}
    end
end
for i, key in ipairs(KEYS) do
    local uses = tonumber(ARGV[3 * i])
    if uses > 0 and redis.call('INCRBY', key, uses) == uses then
        redis.call('EXPIRE', key, ARGV[3 * i - 1])
    end
end
return {0, 0}
"""
#: A key that expired meanwhile must not come back without a time to live.
_UNDO = "for _, key in ipairs(KEYS) do if redis.call('EXISTS', key) == 1 then redis.call('DECR', key) end end"


@dataclass(frozen=True, slots=True)
class Counter:
    """The uses under a name, and their limit; `what` is counted, in words for people."""

    limit: RateLimitItem
    name: str
    what: str = "uses"

    @property
    def key(self) -> str:
        """The counter's name in Redis."""
        return f"{KEY_PREFIX}:{self.name}:{self.limit.amount}:{self.limit.get_expiry()}"


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A counter whose limit is reached, and the seconds until its next use."""

    counter: Counter
    seconds: int


def counters_for(setting: str, *names: str, factor: int = 1, what: str = "uses") -> list[Counter]:
    """Return a counter for each limit of a setting such as "60/minute;1000/day", none for "off"."""
    return [
        Counter(type(limit)(limit.amount * factor, limit.multiples, limit.namespace), key_of(*names), what)
        for limit in parse(setting)
    ]


def parse(setting: str) -> list[RateLimitItem]:
    """Return the limits of a setting."""
    return [] if setting == OFF else parse_many(setting)


def key_of(*names: str) -> str:
    """Return the names as one key that contains no text of a client."""
    return hashlib.sha256("\x00".join(names).encode("utf-8", "replace")).hexdigest()[:32]


def hit(counters: Sequence[Counter]) -> Exceeded | None:
    """Count a use with each, or with none; return the first whose limit is reached. A counter may occur many times."""
    uses = dict.fromkeys(counters, 0)
    for counter in counters:
        uses[counter] += 1
    return _hit(uses)


def check(counters: Sequence[Counter]) -> Exceeded | None:
    """Return the first whose limit is reached. Counts nothing."""
    return _hit(dict.fromkeys(counters, 0))


def undo(counters: Iterable[Counter]) -> None:
    """Uncount one use of each."""
    _run(lambda counts: counts.undo([counter.key for counter in counters]))


def clear(counters: Iterable[Counter]) -> None:
    """Reset the counts."""
    _run(lambda counts: counts.clear([counter.key for counter in counters]))


def in_counter_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run a function of this module in a thread, so that a frozen Redis does not block an event loop."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))

    return run


class _RedisCounts:
    """Counts of all processes."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            # Reconnect at once after a restart of Redis. A time-out is not repeated: the next try would be as slow.
            retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
            # A new connection says no more than it must: each exchange takes a round trip.
            protocol=2,
            driver_info=None,
        )

    def hit(self, uses: dict[Counter, int]) -> tuple[int, float]:
        limits = [(counter.limit.amount, counter.limit.get_expiry(), count) for counter, count in uses.items()]
        keys = [counter.key for counter in uses]
        # EVAL and not EVALSHA, which needs a second round trip after a restart of Redis.
        place, milliseconds = self._eval(_HIT, keys, [figure for figures in limits for figure in figures])
        return place, milliseconds / 1000

    def undo(self, keys: list[str]) -> None:
        self._eval(_UNDO, keys, [])

    def clear(self, keys: list[str]) -> None:
        self._redis.delete(*keys)

    def _eval(self, script: str, keys: list[str], arguments: list[int]) -> Any:
        return self._redis.eval(script, len(keys), *keys, *map(str, arguments))


class _LocalCounts:
    """Counts of this process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._storage = MemoryStorage()

    def hit(self, uses: dict[Counter, int]) -> tuple[int, float]:
        with self._lock:
            for place, (counter, count) in enumerate(uses.items(), start=1):
                used = self._storage.get(counter.key)
                if used + max(count, 1) > counter.limit.amount:
                    left = self._storage.get_expiry(counter.key) - time.time()
                    return place, left if used else counter.limit.get_expiry()
            for counter, count in uses.items():
                if count:
                    self._storage.incr(counter.key, counter.limit.get_expiry(), count)
        return 0, 0

    def undo(self, keys: list[str]) -> None:
        for key in keys:
            self._storage.decr(key)

    def clear(self, keys: list[str]) -> None:
        for key in keys:
            self._storage.clear(key)


class _Breaker:
    """Keeps callers away from a Redis that fails or is slow: all of them for a while, then all but one that tries."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slow_answers = 0
        #: None while Redis is used.
        self._retry_at: float | None = None

    def permits(self) -> bool:
        """Return whether the caller may use Redis now; it records what comes of it."""
        with self._lock:
            if self._retry_at is None:
                return True
            now = time.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + REDIS_RETRY_DELAY_SECONDS
            return True

    def record_answer(self, seconds: float) -> None:
        """Record an answer that took so long."""
        with self._lock:
            self._slow_answers = self._slow_answers + 1 if seconds > SLOW_ANSWER_SECONDS else 0
            is_slow = self._slow_answers >= MAX_SLOW_ANSWERS
            if not self._slow_answers:
                self._retry_at = None
        if is_slow:
            self._open("slow answers")

    def record_failure(self, error: Exception) -> None:
        """Record that Redis did not answer."""
        self._open(type(error).__name__)

    def _open(self, reason: str) -> None:
        with self._lock:
            was_open, self._retry_at = self._retry_at is not None, time.monotonic() + REDIS_RETRY_DELAY_SECONDS
        if not was_open:
            logger.warning("limits_counted_without_redis", error=reason)


_breaker = _Breaker()


def _hit(uses: dict[Counter, int]) -> Exceeded | None:
    if not uses:
        return None
    place, seconds = _run(lambda counts: counts.hit(uses))
    return Exceeded(list(uses)[place - 1], max(math.ceil(seconds), 1)) if place else None


def _run[R](action: Callable[[_RedisCounts | _LocalCounts], R]) -> R:
    if _breaker.permits():
        started = time.monotonic()
        try:
            result = action(_in_redis(settings.REDIS_URL))
        except (RedisError, OSError) as error:
            _breaker.record_failure(error)
        else:
            _breaker.record_answer(time.monotonic() - started)
            return result
    return action(_in_memory())


@cache
def _in_redis(url: str) -> _RedisCounts:
    return _RedisCounts(url)


@cache
def _in_memory() -> _LocalCounts:
    return _LocalCounts()
