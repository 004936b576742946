"""Counts how often something was done, in Redis for all web processes together.

While Redis is away each process counts by itself: limits are then too generous, and never shut everybody out. All of it
waits for Redis and runs in a thread, `in_counter_thread` for whoever has a loop. The keys in Redis are made of digests,
so that no text of a client becomes one.
"""

from __future__ import annotations

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

#: What switches a limit off.
OFF = "off"
#: Seconds Redis may take, and for how long it is not asked again after it took longer.
PATIENCE, PAUSE = 0.5, 5.0
KEY_PREFIX = "codelab:limit"

_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="counters")
_away_until = 0.0


@dataclass(frozen=True, slots=True)
class Counter:
    """How often something was done under some names, and how often it may be. Each method waits for Redis."""

    limit: RateLimitItem
    name: str

    def hit(self) -> int:
        """Count a use; return 0, or in how many seconds there may be one when this one was too many."""
        return _do(lambda limiter: 0 if limiter.hit(self.limit, self.name) else self._left(limiter))

    def left(self) -> int:
        """Return 0, or in how many seconds there may be another use, without counting one."""
        return _do(lambda limiter: 0 if limiter.test(self.limit, self.name) else self._left(limiter))

    def take_back(self) -> None:
        """Forget one use."""
        _do(lambda limiter: limiter.storage.incr(self.limit.key_for(self.name), self.limit.get_expiry(), -1))

    def clear(self) -> None:
        """Forget all uses."""
        _do(lambda limiter: limiter.clear(self.limit, self.name))

    def _left(self, limiter: FixedWindowRateLimiter) -> int:
        reset_time = limiter.get_window_stats(self.limit, self.name).reset_time
        return max(math.ceil(reset_time - time.time()), 1)


def counters(setting: str, *names: str, factor: int = 1) -> list[Counter]:
    """Return a counter for each limit of a setting such as "60/minute;1000/day", none for "off"."""
    return [
        Counter(type(limit)(limit.amount * factor, limit.multiples, limit.namespace), name_of(*names))
        for limit in parse(setting)
    ]


def parse(setting: str) -> list[RateLimitItem]:
    """Return the limits that a setting names."""
    return [] if setting == OFF else parse_many(setting)


def name_of(*names: str) -> str:
    """Return the names as one that is safe to be a part of a key."""
    return hashlib.sha256("\x00".join(names).encode("utf-8", "replace")).hexdigest()[:32]


def hit_all(counted: list[Counter]) -> int:
    """Count a use with each; return 0, or the seconds of the first that says that it was too many."""
    return next(filter(None, (counter.hit() for counter in counted)), 0)


def in_counter_thread[**P, R](function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Run a function of this module in a thread, so that a frozen Redis holds up no loop."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: function(*args, **kwargs))

    return run


def _do[R](action: Callable[[FixedWindowRateLimiter], R]) -> R:
    global _away_until  # noqa: PLW0603 (losing a race means one more try)
    if time.monotonic() >= _away_until:
        try:
            return action(_in_redis(settings.REDIS_URL))
        except (RedisError, OSError) as error:
            _away_until = time.monotonic() + PAUSE
            logger.warning("limits_counted_without_redis", error=type(error).__name__)
    return action(_in_memory())


@cache
def _in_redis(url: str) -> FixedWindowRateLimiter:
    options: dict[str, object] = {
        "socket_timeout": PATIENCE,
        "socket_connect_timeout": PATIENCE,
        # A connection that a restart of Redis has closed is replaced at once.
        "retry": Retry(NoBackoff(), 1),
    }
    url = url.replace("unix://", "redis+unix://")
    return FixedWindowRateLimiter(RedisStorage(url, key_prefix=KEY_PREFIX, **options))  # type: ignore[arg-type]


@cache
def _in_memory() -> FixedWindowRateLimiter:
    return FixedWindowRateLimiter(MemoryStorage())
