"""An upgrade: the tables change beside running processes, and old and new code meet old and new tables."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest

from tests.live.service import PROJECT, Service, copy_template
from tests.neighbours.stream import IS_ALONE, MAX_GAP_SECONDS, neighbour
from tests.servers import WORKER, redis_database

#: The version before. 0.1.0 itself cannot run on later tables: the migration `agent_sessions.0003` takes a column away
#: that it uses. Since `agent_sessions.0014` and `identity.0003`, the tables of this commit, migrations only add.
VERSION_BEFORE = "caf3bf3"
TABLES_BEFORE = (("agent_sessions", "0014"), ("identity", "0003"))


@pytest.fixture(scope="module")
def tables_before() -> str:
    """The name of a database with the tables of the version before."""
    name = f"tables_before{WORKER}"
    url = copy_template(name, postgres=os.environ["DATABASE_URL"])
    back = "; ".join(f"call_command('migrate', '{label}', '{to}', verbosity=0)" for label, to in TABLES_BEFORE)
    command = [sys.executable, "manage.py", "shell", "-v0", "-c"]
    command.append(f"from django.core.management import call_command; {back}")
    subprocess.run(command, cwd=PROJECT, env={**os.environ, "DATABASE_URL": url}, check=True)
    return name


@pytest.fixture
def service(tmp_path: Path, tables_before: str) -> Iterator[Service]:
    """A service that is not started, with the tables of the version before."""
    with ExitStack() as lent:
        redis = lent.enter_context(redis_database())
        service = Service(tmp_path / "service", postgres=os.environ["DATABASE_URL"], redis=redis)
        service.folder.mkdir()
        name = service.database_url.rpartition("/")[2]
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {tables_before}")
        yield service
        service.stop("beat", "web", "worker")


@pytest.fixture
def code_before(tmp_path: Path) -> Path:
    """The code of the version before."""
    command = ["git", "archive", VERSION_BEFORE]
    archived = subprocess.run(command, cwd=PROJECT, capture_output=True, check=False)
    if archived.returncode:
        pytest.skip(f"the history of this checkout does not reach back to {VERSION_BEFORE}")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def migrate(service: Service, *target: str) -> subprocess.CompletedProcess[str]:
    """Change the tables, up to a migration where the test needs no later one: all take six seconds of a core."""
    command = [sys.executable, "manage.py", "migrate", *target]
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, cwd=PROJECT, env=service.environment, check=False, **output)


def test_the_version_before_goes_on_while_tables_change_and_afterwards(service: Service, code_before: Path) -> None:
    service.project = code_before
    service.start("web", "worker", "beat")
    service.wait_until_healthy()
    # A change keeps its locks while Django computes the next one, which takes seconds on a busy machine. A change that
    # waits for its locks while it has others never ends.
    with neighbour(service, max_gap_seconds=MAX_GAP_SECONDS if IS_ALONE else 15):
        done = migrate(service)
        assert done.returncode == 0, done.stdout
        for number in range(3):
            status, answer = service.post(
                "/api/v1/message", {"session_id": f"s{number}", "message": "/tokens 40 40", "wait": True}
            )
            assert status == 200, answer
    assert service.rows("SELECT count(*) FROM agent_sessions_turn WHERE status = 'failed'") == [(0,)]


def test_new_code_waits_for_its_tables(service: Service) -> None:
    service.start("web", "worker")
    deadline = time.monotonic() + 120
    while (answer := service.get("/ready"))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer[0] == 503
    for path in ("/ready", "/health"):
        schema = json.loads(service.get(path)[1])["checks"]["schema"]
        assert schema.startswith("not applied: agent_sessions.0015_upkeep, ")
        assert "identity.0004_indexes_for_upkeep" in schema
    while "waiting_for_migrations" not in service.log_of("worker") and time.monotonic() < deadline:
        time.sleep(0.1)
    (line,) = [line for line in service.log_of("worker").splitlines() if "waiting_for_migrations" in line]
    assert "agent_sessions.0015_upkeep" in line
    assert service.rows("SELECT count(*) FROM agent_sessions_worker") == [(0,)]
    assert migrate(service).returncode == 0
    service.wait_until_healthy()


def test_a_change_waits_for_its_lock_and_lets_others_work(service: Service) -> None:
    command = [sys.executable, "manage.py", "migrate", "agent_sessions", "0016"]
    with (
        psycopg.connect(service.database_url) as holder,
        subprocess.Popen(command, cwd=PROJECT, env=service.environment, text=True, stdout=subprocess.PIPE) as process,
    ):
        holder.execute("LOCK TABLE agent_sessions_turn IN ROW EXCLUSIVE MODE")
        assert process.stdout
        assert any("Running processes hold a lock that this change needs." in line for line in process.stdout)
        # Others use the table in between the tries.
        assert service.rows("SELECT count(*) FROM agent_sessions_turn") == [(0,)]
        holder.rollback()
        process.communicate(timeout=240)
    assert process.returncode == 0


def test_a_change_holds_no_table_while_it_waits_for_the_sessions(service: Service) -> None:
    command = [sys.executable, "manage.py", "migrate"]
    writer = psycopg.connect(service.database_url)
    # What each transaction of a running process begins with.
    writer.execute("LOCK TABLE agent_sessions_session IN ROW SHARE MODE")
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=PROJECT, env=service.environment, **output) as process, writer:
        tries = Thread(target=process.communicate)
        tries.start()
        writer.execute("SET lock_timeout = '1ms'")
        until = time.monotonic() + 6
        while time.monotonic() < until:
            # What it goes on with: no try of the change may be in its way.
            with writer.transaction(force_rollback=True):
                writer.execute("LOCK TABLE agent_sessions_event, agent_sessions_turn IN ROW EXCLUSIVE MODE")
            time.sleep(0.005)
        assert process.poll() is None
        writer.rollback()
        tries.join(240)
    assert process.returncode == 0


def test_an_index_of_a_cancelled_build_is_built_again(service: Service) -> None:
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = '1s'")
        # The build waits for this transaction, as for any old one.
        with psycopg.connect(service.database_url) as old:
            old.execute("SELECT * FROM agent_sessions_session")
            old.execute("LOCK TABLE agent_sessions_session IN ROW EXCLUSIVE MODE")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("CREATE INDEX CONCURRENTLY session_by_age ON agent_sessions_session (updated_at)")
        done = migrate(service, "agent_sessions", "0018")
        assert done.returncode == 0, done.stdout
        assert "A cancelled build has left the index session_by_age behind. It is built again." in done.stdout
        assert connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchall() == [(0,)]


def test_constraints_are_added_without_a_scan_and_then_validated(service: Service) -> None:
    constraint = "agent_sessions_event DROP CONSTRAINT event_kind_known, ADD CONSTRAINT event_kind_known CHECK"
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        # What a cancelled `migrate` leaves.
        connection.execute(f"ALTER TABLE {constraint} (kind <> '') NOT VALID")
        done = migrate(service, "agent_sessions", "0030")
        assert done.returncode == 0, done.stdout
        assert "Validating event_kind_known of agent_sessions_event" in done.stdout
        assert connection.execute("SELECT count(*) FROM pg_constraint WHERE NOT convalidated").fetchall() == [(0,)]
