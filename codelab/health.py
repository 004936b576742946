"""Health endpoints: `/health` and `/ready` check every dependency, `/live` checks none."""

import asyncio
import dataclasses
from datetime import timedelta

from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable
from health_check.views import HealthCheckView

from codelab.environment import VERSION
from codelab.schema import pending_migrations
from sessions.broker import require_broker
from sessions.database import in_thread
from sessions.errors import BrokerUnavailable
from sessions.models import Worker

#: After this long a check fails with a message of ours. The library's own timeout is longer, so that it never fires.
CHECK_TIMEOUT_SECONDS = 2.0
LIBRARY_TIMEOUT = timedelta(seconds=3 * CHECK_TIMEOUT_SECONDS)


@dataclasses.dataclass
class PostgreSQL(HealthCheck):  # type: ignore[misc]  # the library has no types
    """The database answers."""

    timeout = LIBRARY_TIMEOUT

    async def run(self) -> None:
        """Raise ServiceUnavailable when it does not."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await in_thread(_select_one)()
        except Exception as error:
            raise ServiceUnavailable("PostgreSQL does not answer") from error


@dataclasses.dataclass
class Redis(HealthCheck):  # type: ignore[misc]
    """Redis answers."""

    timeout = LIBRARY_TIMEOUT

    async def run(self) -> None:
        """Raise ServiceUnavailable when it does not."""
        try:
            await require_broker()
        except BrokerUnavailable as error:
            raise ServiceUnavailable("Redis does not answer") from error


@dataclasses.dataclass
class Workers(HealthCheck):  # type: ignore[misc]
    """At least one worker has sent a heartbeat recently."""

    timeout = LIBRARY_TIMEOUT

    async def run(self) -> None:
        """Raise ServiceUnavailable when none has, or when PostgreSQL cannot say."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                alive = await in_thread(Worker.alive().exists)()
        except Exception as error:
            raise ServiceUnavailable("unknown: PostgreSQL does not answer") from error
        if not alive:
            raise ServiceUnavailable(
                f"no worker heartbeat in the last {Worker.HEARTBEAT_TIMEOUT.total_seconds():.0f} s"
            )


@dataclasses.dataclass
class Schema(HealthCheck):  # type: ignore[misc]
    """The database has the tables of this version."""

    timeout = LIBRARY_TIMEOUT

    async def run(self) -> None:
        """Raise ServiceUnavailable with the migrations that are not applied, or when PostgreSQL cannot say."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                pending = await in_thread(pending_migrations)()
        except Exception as error:
            raise ServiceUnavailable("unknown: PostgreSQL does not answer") from error
        if pending:
            raise ServiceUnavailable(f"not applied: {', '.join(pending)}. Run `manage.py migrate`")


def _select_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class Health(HealthCheckView):  # type: ignore[misc]
    """The state of every dependency; 503 when one of them fails."""

    checks = (PostgreSQL, Redis, Schema, Workers)

    async def get(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        """Run the checks and answer in JSON, whatever the Accept header says."""
        await super().get(request, *args, **kwargs)
        checks = {type(r.check).__name__.lower(): r.error.message if r.error else "ok" for r in self.results}
        return self.answer(all(text == "ok" for text in checks.values()), checks)

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
