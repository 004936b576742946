"""The heartbeat of a worker: renews its leases and reports that it is alive.

It has a thread and a connection to PostgreSQL of its own, and waits for no row: neither the turns of the process nor a
slow database can make it late. It must never end while the process runs.
"""

import os
import random
import select
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog
from django.conf import settings
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from sessions.database import clock_skew, describe, log_skew
from sessions.events.log import Attempt
from sessions.turns import attempts
from sessions.worker import presence

logger = structlog.get_logger(__name__)

#: Seconds between two heartbeats.
INTERVAL_SECONDS = 3.0
#: Seconds before another try to reach the database, at first and at most.
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.1, 1.0
#: Heartbeats that the event loop may leave unanswered. Then its leases are no longer renewed, and expire.
MAX_UNANSWERED_BEATS = 4
#: Of libpq and the server, instead of those of all connections: a dead network is noticed before a lease expires, and
#: nothing waits for a row of the table of workers.
CONNECTION_OPTIONS = {"keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5000}
LIMITS = {"statement_timeout": 5_000, "lock_timeout": 500}


class Heartbeat:
    """Renews the leases of a worker until `stop`.

    `leases` returns the attempts that the process runs, and `abandon` is called with each that has lost its turn.
    `post` has the event loop call a function; both are called in the heartbeat's thread.
    """

    def __init__(
        self,
        worker: str,
        *,
        leases: Callable[[], Iterable[Attempt]],
        abandon: Callable[[Attempt], None],
        post: Callable[[Callable[[], None]], object],
    ) -> None:
        self._worker, self._leases, self._abandon, self._post = worker, leases, abandon, post
        self._lock_key: int | None = None
        self._skew: timedelta | None = None
        self._unanswered_beats = 0
        self._is_failing = self._is_stopped = False
        self._wakes, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop, and close the connection: the worker is gone."""
        self._is_stopped = True
        os.write(self._waker, b".")
        self._thread.join(timeout=1)

    def _run(self) -> None:
        connections["default"] = _own_connection()
        retry_seconds = MIN_RETRY_SECONDS
        while not self._is_stopped:
            next_at = time.monotonic() + INTERVAL_SECONDS
            try:
                self._beat()
                self._is_failing, retry_seconds = False, MIN_RETRY_SECONDS
            except Exception as error:
                # Turns go on. When the database is away for longer than a lease, it refuses their writes.
                if not self._is_failing:
                    logger.warning("heartbeat_failed", **describe(error))
                self._is_failing = True
                connection.close()
                # At random: all workers of a database that was away come back at once.
                next_at = time.monotonic() + retry_seconds * random.uniform(0.5, 1)
                retry_seconds = min(2 * retry_seconds, MAX_RETRY_SECONDS)
            self._wait(next_at - time.monotonic())
        connection.close()

    def _beat(self) -> None:
        is_new = connection.connection is None
        connection.ensure_connection()
        leases = list(self._leases())
        if self._is_loop_alive():
            for attempt in attempts.renew(leases):
                self._post(partial(self._abandon, attempt))
        if is_new:
            self._lock_key = presence.take_lock()
            self._skew = clock_skew()
            log_skew(self._skew)
        presence.report(self._worker, running_turns=len(leases), lock_key=self._lock_key, clock_skew=self._skew)
        if settings.CODELAB_HEARTBEAT_FILE:
            # A full disk is no fault of the worker.
            with suppress(OSError):
                settings.CODELAB_HEARTBEAT_FILE.touch()

    def _is_loop_alive(self) -> bool:
        """Return whether the event loop answers: turns of a loop that stands still belong to another worker."""
        self._unanswered_beats += 1
        self._post(self._answer)
        if self._unanswered_beats <= MAX_UNANSWERED_BEATS:
            return True
        logger.error("leases_not_renewed", unanswered_beats=self._unanswered_beats)
        return False

    def _answer(self) -> None:
        self._unanswered_beats = 0

    def _wait(self, seconds: float) -> None:
        """Wait until the next heartbeat is due, the connection is closed or `stop` is called."""
        # Not `select`, which knows no file descriptors above 1,023.
        poll = select.poll()
        poll.register(self._wakes, select.POLLIN)
        if connection.connection is not None:
            # Between two statements PostgreSQL sends nothing but its farewell.
            poll.register(connection.connection.fileno(), select.POLLIN)
        poll.poll(max(seconds, 0) * 1000)


def _own_connection() -> BaseDatabaseWrapper:
    """Return a connection outside of the pool, which is opened at its first statement."""
    own = connections.create_connection("default")
    options = {**own.settings_dict["OPTIONS"], **CONNECTION_OPTIONS}
    options.pop("pool", None)
    limits = {**own.settings_dict["LIMITS"], **LIMITS}
    own.settings_dict = {**own.settings_dict, "OPTIONS": options, "LIMITS": limits}
    return own
