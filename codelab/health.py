"""Health endpoints: `/health` and `/ready` check every dependency, `/live` checks none."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import add_never_cache_headers
from django.views import View

from codelab.environment import VERSION
from codelab.schema import pending_migrations
from sessions.broker import require_broker
from sessions.database import in_thread
from sessions.errors import BrokerUnavailable
from sessions.models import Worker

#: After this long a question to PostgreSQL counts as not answered.
CHECK_TIMEOUT_SECONDS = 2.0
NO_ANSWER = "PostgreSQL does not answer"


async def postgresql() -> str:
    """Check that the database answers."""
    return await _ask(_select_one) or ""


async def redis() -> str:
    """Check that Redis answers."""
    try:
        await require_broker()
    except BrokerUnavailable:
        return "Redis does not answer"
    return ""


async def schema() -> str:
    """Check that the database has the tables of this version."""
    pending = await _ask(pending_migrations)
    if pending is NO_ANSWER:
        return f"unknown: {NO_ANSWER}"
    return f"not applied: {', '.join(pending)}. Run `manage.py migrate`" if pending else ""


async def workers() -> str:
    """Check that at least one worker has sent a heartbeat recently."""
    alive = await _ask(Worker.alive().exists)
    if alive is NO_ANSWER:
        return f"unknown: {NO_ANSWER}"
    return "" if alive else f"no worker heartbeat in the last {Worker.HEARTBEAT_TIMEOUT.total_seconds():.0f} s"


#: Each returns what is wrong, or nothing.
CHECKS: dict[str, Callable[[], Awaitable[str]]] = {
    check.__name__: check for check in (postgresql, redis, schema, workers)
}


async def _ask(question: Callable[[], Any]) -> Any:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return await in_thread(question)()
    except Exception:
        # Whatever the reason is, the answer is that there is none. The text must not show addresses or names.
        return NO_ANSWER


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class Health(View):
    """The state of every dependency; 503 when one of them fails."""

    async def get(self, _request: HttpRequest) -> HttpResponse:
        """Run the checks side by side and answer in JSON, whatever the Accept header says."""
        problems = await asyncio.gather(*(check() for check in CHECKS.values()))
        checks = {name: problem or "ok" for name, problem in zip(CHECKS, problems, strict=True)}
        response = self.answer(not any(problems), checks)
        add_never_cache_headers(response)
        return response

    def answer(self, healthy: bool, checks: dict[str, str]) -> JsonResponse:
        """Return the body that the original's guide documents."""
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "service": "gateway",
            "version": VERSION,
            "checks": checks,
        }
        return JsonResponse(body, status=200 if healthy else 503)


class Ready(Health):
    """The same checks, with the body that the original's plugin expects."""

    def answer(self, healthy: bool, checks: dict[str, str]) -> JsonResponse:
        if healthy:
            return JsonResponse({"status": "ready"})
        return JsonResponse({"status": "not ready", "checks": checks}, status=503)


async def live(_request: HttpRequest) -> JsonResponse:
    """Answer without checking anything: a liveness probe for process managers."""
    return JsonResponse({"status": "alive", "service": "gateway", "version": VERSION})
