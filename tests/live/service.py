"""The service as users run it: real processes on real ports, with its own database."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import websockets

from codelab.local.embedded_servers import PostgresServer
from tests.closed_schemas import require_frame
from tests.ports import free_port
from tests.servers import WORKER, folder, locked, redis_database

PROJECT = Path(__file__).parent.parent.parent
ADMIN_PASSWORD = "the admin's long password"
DEMO_PASSWORD = "the demo user's long password"

#: Template databases. The first has all tables, the second also has three users.
TABLES, USERS = "tables_template", "service_template"

#: For migrations and tests, which may pause in a transaction for longer than the service's processes on a busy
#: machine.
LONG_PAUSES = {"idle_in_transaction_session_timeout": 60_000}

SET_UP = f"""
import os
import psycopg
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
connection.settings_dict["LIMITS"] |= {LONG_PAUSES}
call_command("migrate", verbosity=0)
connection.close()
connection.close_pool()
with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
    server.execute("CREATE DATABASE {USERS} TEMPLATE {TABLES}")
connection.settings_dict["NAME"] = "{USERS}"
User.objects.create_superuser("admin", password={ADMIN_PASSWORD!r})
User.objects.create_user("demo", password={DEMO_PASSWORD!r})
User.objects.create_user("bob", password={DEMO_PASSWORD!r})
"""

#: Of processor time in one callback of an event loop (`sessions.watchdog.MAX_BLOCK_SECONDS`).
MAX_BLOCK_SECONDS = 0.25

_numbers = itertools.count(1)

type Frame = dict[str, Any]


def template(name: str = USERS) -> str:
    """Make the templates once in each test run, on its server; return the URL of the one with this name.

    Migrations and passwords take longer than the rest of a service's start.
    """
    server = os.environ["DATABASE_URL"].rpartition("/")[0]
    made = folder() / "templates"
    with locked("templates"):
        if not made.exists():
            with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
                for each in (TABLES, USERS):
                    # An external server may keep the templates of an earlier run, with other migrations.
                    connection.execute(f"DROP DATABASE IF EXISTS {each} (FORCE)")
                connection.execute(f"CREATE DATABASE {TABLES}")
            command = [sys.executable, "manage.py", "shell", "-v0", "-c", SET_UP]
            environment = {**os.environ, "DATABASE_URL": f"{server}/{TABLES}"}
            subprocess.run(command, cwd=PROJECT, env=environment, check=True)
            made.touch()
    return f"{server}/{name}"


def copy_template(name: str, *, postgres: str) -> str:
    """Copy the template to a database on this or another server; return its URL."""
    source, target = template(), f"{postgres.rpartition('/')[0]}/{name}"
    is_here = source.rpartition("/")[0] == target.rpartition("/")[0]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} (FORCE)")
        connection.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {USERS}" if is_here else ""))
    if not is_here:
        restore_template(target)
    return target


def restore_template(target: str) -> None:
    """Fill an empty database on another server with the contents of the template."""
    dumped = subprocess.run([PostgresServer._binary("pg_dump"), "-Fc", template()], stdout=subprocess.PIPE, check=True)
    restore = (PostgresServer._binary("pg_restore"), "--exit-on-error", "--dbname", target)
    subprocess.run(restore, input=dumped.stdout, check=True)


class Socket:
    """A WebSocket client that remembers what it received."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection

    async def send(self, frame: Frame | str | bytes) -> None:
        await self.connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def say(self, content: str, **more: Any) -> None:
        await self.send({"type": "user_message", "content": content, **more})

    async def receive(self, timeout: float = 60) -> Frame:
        frame = dict(json.loads(await self._receive_text(timeout)))
        require_frame(frame)
        return frame

    async def _receive_text(self, timeout: float) -> str:
        import asyncio

        async with asyncio.timeout(timeout):
            return str(await self.connection.recv())

    async def until_final(self, timeout: float = 60) -> list[Frame]:
        """Return the frames up to and including the one that ends or refuses the turn."""
        frames: list[Frame] = []
        while not frames or not (frames[-1].get("is_final") or frames[-1]["type"] == "error"):
            frames.append(await self.receive(timeout))
        return frames


class Service:
    """Web, worker and beat, with a PostgreSQL database and a Redis database that no other service uses."""

    #: Whose code the processes run.
    project = PROJECT
    #: What starts a process of a given name.
    module = "codelab"

    def __init__(self, folder: Path, *, postgres: str, redis: str, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_password, self.demo_password = ADMIN_PASSWORD, DEMO_PASSWORD
        self.database_url = copy_template(f"service{WORKER}_{next(_numbers)}", postgres=postgres)
        self.environment = {
            **os.environ,
            "PORT": str(self.port),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": redis,
            "CODELAB_DATA_DIR": str(folder),
            "CODELAB_OPEN_ACCESS_USER": "demo",
            "CODELAB_LOG_FORMAT": "json",
            # Tests stop workers that run endless turns.
            "CODELAB_WORKER_GRACE_SECONDS": "0",
            # Tests do not wait for clients that they have forgotten.
            "CODELAB_DRAIN_SECONDS": "5",
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def manage(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=PROJECT, env=self.environment, check=True)

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def blocked_loops(self) -> list[Frame]:
        """Return the log lines of event loops that were kept busy for longer than a neighbour should wait.

        Lines without processor time are left out: they tell how busy the machine was.
        """
        logged = (
            json.loads(line)
            for name in ("web", "worker")
            for line in self.log_of(name).splitlines()
            if "event_loop_" in line
        )
        found: list[Frame] = []
        stack: list[str] = []
        for line in logged:
            stack = line.get("stack", stack)
            if line.get("cpu_seconds", 0) > MAX_BLOCK_SECONDS:
                found.append({**line, "stack": stack})
        return found

    def start(self, *names: str) -> None:
        for name in names:
            with (self.folder / f"{name}.log").open("ab") as log:
                command = [sys.executable, "-m", self.module, name]
                self.processes[name] = subprocess.Popen(
                    command, cwd=self.project, env=self.environment, stdout=log, stderr=log, start_new_session=True
                )

    def stop(self, *names: str, signal_number: int = signal.SIGTERM) -> None:
        processes = [self.processes.pop(name) for name in names if name in self.processes]
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal_number)
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until_healthy(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.get("/health")[0] == 200:
                return
            time.sleep(0.1)
        logs = "\n".join(f"--- {name}\n{self.log_of(name)[-2000:]}" for name in self.processes)
        raise AssertionError(f"not healthy after {seconds} s: {self.get('/health')}\n{logs}")

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        return self._answer(urllib.request.Request(self.url + path, headers=headers))

    def post(self, path: str, body: object, **headers: str) -> tuple[int, str]:
        return self.post_bytes(path, json.dumps(body).encode(), **headers)

    def post_bytes(self, path: str, data: bytes, **headers: str) -> tuple[int, str]:
        headers = {"Content-Type": "application/json", **headers}
        return self._answer(urllib.request.Request(self.url + path, data=data, headers=headers))

    def _answer(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=70) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @asynccontextmanager
    async def connect(self, path: str, **options: Any) -> AsyncIterator[Socket]:
        options = {"max_size": None, "proxy": None, **options}
        async with websockets.connect(f"ws://127.0.0.1:{self.port}{path}", **options) as connection:
            yield Socket(connection)

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Query the service's database directly."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()


@contextmanager
def running(
    folder: Path, *, postgres: str, redis: str, module: str = "codelab", **environment: str
) -> Iterator[Service]:
    """Start a service; stop it afterwards. Few tests need beat, which takes three seconds of a core: they start it."""
    assert urlsplit(postgres).hostname == "127.0.0.1"
    with ExitStack() as lent:
        if redis == os.environ["REDIS_URL"]:
            redis = lent.enter_context(redis_database())
        service = Service(folder, postgres=postgres, redis=redis, **environment)
        service.module = module
        try:
            service.start("web", "worker")
            service.wait_until_healthy()
            yield service
        finally:
            service.stop("beat", "web", "worker")
    assert (blocked := service.blocked_loops()) == [], blocked
