"""The embedded servers: they keep data, survive crashes and leave nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from codelab.local.embedded_servers import PostgresServer, RedisServer
from codelab.local.operating_system import LOOPBACK, StartupError, arguments_of, port_problem

pytestmark = pytest.mark.live


def test_postgres_keeps_data_port_and_password(tmp_path: Path) -> None:
    with PostgresServer(tmp_path, durable=False) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        url = server.url
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(server.password, "wrong"))
    assert port_problem(LOOPBACK, server.port) is None
    with PostgresServer(tmp_path, durable=False) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    assert server.url == url


def test_nothing_private_is_readable_by_others(tmp_path: Path) -> None:
    for server in (PostgresServer(tmp_path / "postgres", durable=False), RedisServer(tmp_path / "redis")):
        server.prepare()
        assert server.folder.stat().st_mode & 0o077 == 0
        assert (server.folder / "server.json").stat().st_mode & 0o077 == 0
        assert not any(server.password in word for word in server.command())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run servers as")
def test_servers_do_not_run_as_root(tmp_path: Path) -> None:
    for server in (PostgresServer(tmp_path / "postgres", durable=False), RedisServer(tmp_path / "redis")):
        with server:
            assert server.process
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            assert f"Uid:\t{server.folder.stat().st_uid}\t" in status
        assert server.folder.stat().st_uid != 0


def test_a_postgres_left_running_is_stopped_first(tmp_path: Path) -> None:
    orphan = PostgresServer(tmp_path, durable=False)
    orphan.start()
    assert orphan.process
    with PostgresServer(tmp_path, durable=False) as server:
        assert orphan.process.wait(60) == 0
        assert server.port == orphan.port


def test_another_process_with_the_stored_pid_is_left_alone(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    server.start()
    assert server.process
    # Killed, so that the next start also has to recover.
    server.process.kill()
    server.process.wait()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n{tmp_path}/data\n")
        with PostgresServer(tmp_path, durable=False):
            assert stranger.poll() is None
        stranger.kill()


def test_data_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    server.prepare()
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(StartupError, match=r"was created by PostgreSQL 9, which postgres .* cannot read"):
        server.prepare()
    (tmp_path / "server.json").unlink()
    with pytest.raises(StartupError, match="which holds the password"):
        server.prepare()


def test_redis_keeps_data_and_stops_an_orphan_first(tmp_path: Path) -> None:
    orphan = RedisServer(tmp_path)
    orphan.start()
    assert orphan.process
    with Redis.from_url(orphan.url) as client:
        client.set("kept", "7")
    with RedisServer(tmp_path) as server, Redis.from_url(server.url) as client:
        assert orphan.process.wait(60) == 0
        assert client.get("kept") == b"7"
    assert server.url == orphan.url


def test_redis_without_durability_forgets(tmp_path: Path) -> None:
    with RedisServer(tmp_path, durable=False) as server, Redis.from_url(server.url) as client:
        client.set("kept", "7")
    with RedisServer(tmp_path, durable=False) as server, Redis.from_url(server.url) as client:
        assert client.get("kept") is None


def test_a_port_in_use_is_an_error_only_when_it_was_configured(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "first", durable=False) as first:
        second = RedisServer(tmp_path / "second", durable=False, port=first.port)
        with pytest.raises(StartupError, match="Redis did not start"):
            second.start()
        with RedisServer(tmp_path / "second", durable=False) as third:
            assert third.port != first.port


def test_servers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from codelab.local.embedded_servers import *;"
        "servers = [PostgresServer(Path(sys.argv[1]) / 'p', durable=False), RedisServer(Path(sys.argv[1]) / 'r')];"
        "[server.start() for server in servers]; print(*(server.process.pid for server in servers), flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # From a folder of the project, so that `codelab` can be imported.
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for pid in map(int, done.stdout.split()):
        wait_until_gone(pid)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while arguments_of(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)
