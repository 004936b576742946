"""Is this installation able to work? `/health` asks everything it depends on, `/live` touches nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable
from health_check.views import HealthCheckView

from codelab.environment import VERSION
from sessions.broker import require_broker
from sessions.database import in_thread
from sessions.errors import BrokerUnavailable
from sessions.models import Worker

#: Seconds that a server may take to answer; the checks give up by themselves, with words of their own, and not the
#: library after its time.
PATIENCE = 2.0
LONGEST = timedelta(seconds=3 * PATIENCE)


@dataclasses.dataclass
class PostgreSQL(HealthCheck):  # type: ignore[misc]  # the library has no types
    """The database answers."""

    timeout = LONGEST

    async def run(self) -> None:
        """Raise ServiceUnavailable when it does not."""
        try:
            async with asyncio.timeout(PATIENCE):
                await in_thread(_select_one)()
        except Exception as error:
            raise ServiceUnavailable("PostgreSQL does not answer") from error


@dataclasses.dataclass
class Redis(HealthCheck):  # type: ignore[misc]
    """Redis answers, so that workers hear of turns and clients of tokens."""

    timeout = LONGEST

    async def run(self) -> None:
        """Raise ServiceUnavailable when it does not."""
        try:
            await require_broker()
        except BrokerUnavailable as error:
            raise ServiceUnavailable("Redis does not answer") from error


@dataclasses.dataclass
class Workers(HealthCheck):  # type: ignore[misc]
    """At least one worker has reported lately."""

    timeout = LONGEST

    async def run(self) -> None:
        """Raise ServiceUnavailable when nobody has, or when nobody can tell."""
        try:
            async with asyncio.timeout(PATIENCE):
                alive = await in_thread(Worker.alive().exists)()
        except Exception as error:
            raise ServiceUnavailable("unknown: PostgreSQL does not answer") from error
        if not alive:
            raise ServiceUnavailable("no worker has reported lately")


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class Health(HealthCheckView):  # type: ignore[misc]
    """Answer with the state of every dependency; 503 when one of them fails."""

    checks = (PostgreSQL, Redis, Workers)

    async def get(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Run the checks and answer in JSON, whatever the client would like best."""
        await super().get(request, *args, **kwargs)
        checks = {type(r.check).__name__.lower(): r.error.message if r.error else "ok" for r in self.results}
        return self.answer(all(text == "ok" for text in checks.values()), checks)

    def answer(self, healthy: bool, checks: dict[str, str]) -> JsonResponse:
        """Answer as the original's guide does: its plugin would like "ok" better and asks nowhere."""
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "service": "gateway",
            "version": VERSION,
            "checks": checks,
        }
        return JsonResponse(body, status=200 if healthy else 503)


class Ready(Health):
    """The same question with the answer that the original's plugin takes."""

    def answer(self, healthy: bool, checks: dict[str, str]) -> JsonResponse:
        """Say whether it is worth sending something."""
        if healthy:
            return JsonResponse({"status": "ready"})
        return JsonResponse({"status": "not ready", "checks": checks}, status=503)


async def live(_request: HttpRequest) -> JsonResponse:
    """Answer as long as the process can; for whoever decides whether to restart it."""
    return JsonResponse({"status": "alive", "service": "gateway", "version": VERSION})
