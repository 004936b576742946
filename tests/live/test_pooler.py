"""The service behind a pooler in session mode, with the pooler's defaults."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.conftest import POSTGRES
from tests.live.pooler import pooler
from tests.live.service import Service
from tests.servers import redis_database

pytestmark = pytest.mark.live


async def test_the_service_starts_behind_a_pooler_and_answers(tmp_path: Path) -> None:
    with redis_database() as redis:
        service = Service(tmp_path, postgres=POSTGRES, redis=redis)
        with pooler(service.database_url) as (url, refused):
            service.environment["DATABASE_URL"] = url
            service.manage("migrate", "--verbosity=0")
            service.start("web", "worker", "beat")
            try:
                service.wait_until_healthy()
                async with service.connect("/ws/pooled") as alice:
                    await alice.say("/say hello")
                    assert (await alice.until_final())[-1]["content"] == "hello"
                # Behind a pooler a lock says nothing about the worker's process.
                assert service.rows("SELECT lock_key FROM agent_sessions_worker") == [(None,)]
            finally:
                service.stop("beat", "web", "worker")
        assert refused == []


def test_the_stand_in_refuses_what_pgbouncer_refuses() -> None:
    with pooler(POSTGRES) as (url, refused):
        with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
            psycopg.connect(url, options="-c statement_timeout=1000")
        assert refused == ["options"]
        with psycopg.connect(url, application_name="test") as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert connection.execute("SELECT pg_backend_pid()").fetchone() != (connection.info.backend_pid,)
