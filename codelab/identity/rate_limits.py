"""Counts uses for rate limits, in Redis for all web processes together.

While Redis is away each process counts alone: limits are then too generous, but lock no user out. Every function waits
for Redis and belongs in a thread; from an event loop use `in_counter_thread`. Keys in Redis are digests, so that they
never contain text of a client.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import structlog
from django.conf import settings
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = structlog.get_logger(__name__)

#: The setting that switches a limit off.
OFF = "off"
REDIS_TIMEOUT_SECONDS = 0.5
#: After a failure Redis is not used for this long.
REDIS_RETRY_DELAY_SECONDS = 5.0
KEY_PREFIX = "codelab:limit"

_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="counters")
_redis_retry_at = 0.0


@dataclass(frozen=True, slots=True)
class Counter:
    """The uses under a name, and their limit. Each method waits for Redis."""

    limit: RateLimitItem
    name: str

    def hit(self) -> int:
        """Count a use; return 0, or the seconds until the next one when the limit is reached."""
        return _run(lambda limiter: 0 if limiter.hit(self.limit, self.name) else self._reset_seconds(limiter))

    def seconds_left(self) -> int:
        """Return 0, or the seconds until the next use when the limit is reached. Counts nothing."""
        return _run(lambda limiter: 0 if limiter.test(self.limit, self.name) else self._reset_seconds(limiter))

    def undo(self) -> None:
        """Uncount one use."""
        _run(lambda limiter: limiter.storage.incr(self.limit.key_for(self.name), self.limit.get_expiry(), -1))

    def clear(self) -> None:
        """Reset the count."""
        _run(lambda limiter: limiter.clear(self.limit, self.name))

    def _reset_seconds(self, limiter: FixedWindowRateLimiter) -> int:
        reset_time = limiter.get_window_stats(self.limit, self.name).reset_time
        return max(math.ceil(reset_time - time.time()), 1)


def counters_for(setting: str, *names: str, factor: int = 1) -> list[Counter]:
    """Return a counter for each limit of a setting such as "60/minute;1000/day", none for "off"."""
    return [
        Counter(type(limit)(limit.amount * factor, limit.multiples, limit.namespace), key_of(*names))
        for limit in parse(setting)
    ]


def parse(setting: str) -> list[RateLimitItem]:
    """Return the limits of a setting."""
    return [] if setting == OFF else parse_many(setting)


def key_of(*names: str) -> str:
    """Return the names as one key that contains no text of a client."""
    return hashlib.sha256("\x00".join(names).encode("utf-8", "replace")).hexdigest()[:32]


def hit_all(counters: list[Counter]) -> int:
    """Count a use with each; return 0, or the seconds of the first whose limit is reached."""
    return next(filter(None, (counter.hit() for counter in counters)), 0)


def in_counter_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run a function of this module in a thread, so that a frozen Redis does not block an event loop."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))

    return run


def _run[R](action: Callable[[FixedWindowRateLimiter], R]) -> R:
    global _redis_retry_at  # noqa: PLW0603 (losing a race means one more try)
    if time.monotonic() >= _redis_retry_at:
        try:
            return action(_in_redis(settings.REDIS_URL))
        except (RedisError, OSError) as error:
            _redis_retry_at = time.monotonic() + REDIS_RETRY_DELAY_SECONDS
            logger.warning("limits_counted_without_redis", error=type(error).__name__)
    return action(_in_memory())


@cache
def _in_redis(url: str) -> FixedWindowRateLimiter:
    options: dict[str, object] = {
        "socket_timeout": REDIS_TIMEOUT_SECONDS,
        "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
        # Reconnect at once after a restart of Redis.
        "retry": Retry(NoBackoff(), 1),
    }
    url = url.replace("unix://", "redis+unix://")
    return FixedWindowRateLimiter(RedisStorage(url, key_prefix=KEY_PREFIX, **options))  # type: ignore[arg-type]


@cache
def _in_memory() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(MemoryStorage())
