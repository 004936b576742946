"""Repeats a verb of a turn while the database is away, so that no reply of a model is lost.

An error that is about what is to be stored must never be repeated: it ends the turn at once.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from django.db import Error as DatabaseError

from sessions.database import in_thread, is_statement_timeout, is_temporary

logger = structlog.get_logger(__name__)

#: How long a step waits for a database that is away. By then its lease has expired.
STORE_TIMEOUT_SECONDS = 60.0
STORE_RETRY_SECONDS = 0.5
#: A verb whose statement takes too long so many times is not repeated: it would always take too long.
MAX_STATEMENT_TIMEOUTS = 2


async def with_retries[**P, R](verb: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a verb, and repeat it while the database is away, so that no reply is lost.

    When a COMMIT succeeded and only its confirmation was lost, the next try raises StaleAttempt.
    """
    deadline, statement_timeouts = time.monotonic() + STORE_TIMEOUT_SECONDS, 0
    while True:
        try:
            return await in_thread(verb)(*args, **kwargs)
        except DatabaseError as error:
            statement_timeouts += is_statement_timeout(error)
            if not is_temporary(error) or time.monotonic() > deadline or statement_timeouts == MAX_STATEMENT_TIMEOUTS:
                raise
            logger.warning("not_stored_yet", error=type(error).__name__)
            await asyncio.sleep(STORE_RETRY_SECONDS)
