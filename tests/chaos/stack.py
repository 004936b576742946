"""The whole service on this machine, for fault injection: every process can be killed, frozen and restarted.

    clients ── link ── web-1, web-2 ─┬─ link ── PostgreSQL        beat
                                     ├─ link ── Redis
               worker-1 … worker-3 ──┴─ link ── a model's provider

A killed process restarts within a second, as it would under a service manager. The history has the deaths, with the
turns that were running.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from redis.asyncio import Redis

from codelab.environment import PROJECT
from codelab.local.embedded_servers import PostgresServer, RedisServer
from codelab.local.operating_system import LOOPBACK
from tests.chaos.edges import Armed
from tests.chaos.history import History
from tests.chaos.processes import Launcher, Process
from tests.chaos.proxy import Budget, Link
from tests.ports import free_port

SET_UP = """
from django.core.management import call_command
from django.contrib.auth.models import User
call_command("migrate", verbosity=0)
User.objects.create_user("demo")
"""
#: Processes in which a bug of `tests.chaos.bugs` is planted, if not only in workers.
BUG_KINDS = {"ack_before_commit": ("web",), "number_from_the_clock": ("web", "worker")}


class Stack:
    """Servers, links and processes of one run."""

    def __init__(
        self,
        folder: Path,
        history: History,
        *,
        webs: int,
        workers: int,
        lease: float,
        cuts: Budget,
        fill: Callable[[str], None] | None,
    ) -> None:
        self.folder, self.history, self.lease, self._fill = folder, history, lease, fill
        self.bug = ""
        self.armed = Armed(folder / "edges")
        self.postgres = PostgresServer(folder / "postgres", port=free_port())
        self.redis = RedisServer(folder / "redis", port=free_port())
        self.processes = {
            name: Process(self, name)
            for name in [*(f"web-{i + 1}" for i in range(webs)), *(f"worker-{i + 1}" for i in range(workers)), "beat"]
        }
        self.postgres_link = Link("postgres", lambda: self.postgres.port)
        self.redis_link = Link("redis", lambda: self.redis.port)
        self.provider_link = Link("provider", lambda: self._provider_port)
        self.web_links = [
            Link(process.name, lambda port=process.port: port, cuts)  # type: ignore[misc]
            for process in self.of_kind("web")
        ]
        self.launchers: dict[str, Launcher] = {}
        self._provider: asyncio.subprocess.Process | None = None
        # The thread lives as long as this process, because a server ends with the thread that started it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")

    def of_kind(self, kind: str) -> list[Process]:
        return [process for process in self.processes.values() if process.kind == kind]

    @property
    def links(self) -> list[Link]:
        return [self.postgres_link, self.redis_link, self.provider_link, *self.web_links]

    @property
    def tool_log(self) -> Path:
        return self.folder / "tools.jsonl"

    @property
    def provider_log(self) -> Path:
        return self.folder / "provider.jsonl"

    @property
    def environment(self) -> dict[str, str]:
        foreign = ("CODELAB_", "OPENAI_", "PROMETHEUS_", "CHAOS_", "COVERAGE", "COV_")
        behind = "@{}:{}/".format
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
            "DATABASE_URL": self.postgres.url.replace(
                behind(LOOPBACK, self.postgres.port), behind(LOOPBACK, self.postgres_link.port)
            ),
            "REDIS_URL": self.redis.url.replace(
                behind(LOOPBACK, self.redis.port), behind(LOOPBACK, self.redis_link.port)
            ),
            "CODELAB_MODEL": "openai/fake",
            # The checker counts requests; an orchestrator would send one more for each session.
            "CODELAB_AGENTS": "single",
            "OPENAI_API_BASE": f"http://{LOOPBACK}:{self.provider_link.port}/v1",
            "CODELAB_DATA_DIR": str(self.folder / "data"),
            "CODELAB_SECRET_KEY": "a key for chaos runs, which signs nothing that anybody keeps",
            "CODELAB_OPEN_ACCESS_USER": "demo",
            "CODELAB_FIRST_TOKEN_TIMEOUT": "10",
            "CODELAB_IDLE_TOKEN_TIMEOUT": "5",
            # Each request to the provider has an attempt of its own; the checker counts them.
            "CODELAB_MODEL_TRIES": "1",
            # Long enough for some turns to end, and for others to be handed on.
            "CODELAB_WORKER_GRACE_SECONDS": "2",
            "PROMETHEUS_MULTIPROC_DIR": str(self.folder / "metrics"),
            "PYTHONUNBUFFERED": "1",
            "CHAOS_EDGES": str(self.armed.folder),
            **({"CHAOS_LEASE": str(self.lease)} if self.lease else {}),
        }

    def planted(self, kind: str) -> dict[str, str]:
        """Return the environment that plants the current bug into a process of this kind."""
        return {"CHAOS_BUG": self.bug} if self.bug and kind in BUG_KINDS.get(self.bug, ("worker",)) else {}

    async def in_thread[R](self, function: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def open(self) -> None:
        """Start everything; return when the service reports that it is healthy."""
        for server in (self.postgres, self.redis):
            await self.in_thread(server.start)
        for link in self.links:
            await link.open()
        environment = self.environment
        self._provider = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.live.provider", str(self.provider_log)),
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # asyncio logs a warning for each socket that was cut while it wrote to it.
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.launchers = {kind: Launcher(kind, environment) for kind in ("web", "worker")}
        await asyncio.gather(*(launcher.open() for launcher in self.launchers.values()), self._migrate(environment))
        assert self._provider.stdout
        self._provider_port = int(await self._provider.stdout.readline())
        for process in self.processes.values():
            await process.start()
        await self.healthy()

    async def _migrate(self, environment: dict[str, str]) -> None:
        if self._fill:
            await asyncio.to_thread(self._fill, self.postgres.url)
            return
        command = (sys.executable, "manage.py", "shell", "-v0", "-c", SET_UP)
        process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env=environment)
        assert await process.wait() == 0

    async def healthy(self, seconds: float = 60) -> None:
        """Wait until both web processes answer and all workers have reported."""
        async with asyncio.timeout(seconds):
            for process in (*self.of_kind("web"), *self.of_kind("worker")):
                await self.ready(process, seconds)

    async def ready(self, process: Process, seconds: float) -> None:
        """Wait until a web process answers or a worker has reported; raise TimeoutError when it does not in time."""
        async with asyncio.timeout(seconds), httpx.AsyncClient(trust_env=False) as client:
            while True:
                if not process.alive:
                    pass
                elif process.kind == "web":
                    with suppress(httpx.HTTPError):
                        if (await client.get(f"http://{LOOPBACK}:{process.port}/health")).status_code == 200:
                            return
                elif await self.rows(
                    "SELECT name FROM agent_sessions_worker WHERE starts_with(name, %s)", process.worker
                ):
                    return
                await asyncio.sleep(0.1)

    async def database(self) -> psycopg.AsyncConnection[Any]:
        """Open a connection that bypasses the links."""
        return await psycopg.AsyncConnection.connect(self.postgres.url, connect_timeout=5)

    async def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Query the database without the links; wait while it is down."""
        while True:
            try:
                async with await self.database() as connection:
                    cursor = await connection.execute(statement.encode(), parameters)
                    return await cursor.fetchall()
            except psycopg.OperationalError:
                await asyncio.sleep(0.2)

    async def running_turns(self, worker: str) -> dict[str, int]:
        """Return the turns that a worker runs, with its attempts."""
        statement = "SELECT id, attempt FROM agent_sessions_turn WHERE status = 'running' AND starts_with(worker, %s)"
        return {str(turn_id): attempt for turn_id, attempt in await self.rows(statement, worker)}

    async def metric(self, name: str) -> int:
        """Return a counter of all processes of this run, also of dead ones; 0 if it has no value yet."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            text = (await client.get(f"http://{LOOPBACK}:{self.of_kind('web')[0].port}/metrics")).text
        return int(sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)))

    def signal_server(self, server: PostgresServer | RedisServer, number: int) -> None:
        """Send a signal to every process of a server: PostgreSQL has one for each connection."""
        assert server.process
        main = psutil.Process(server.process.pid)
        for process in (*main.children(recursive=True), main):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    async def flush_redis(self) -> None:
        """Empty Redis, if it answers."""
        async with Redis.from_url(self.redis.url, socket_timeout=2) as client:
            await client.flushall()

    async def restart(self, server: PostgresServer | RedisServer, number: int, *, away: float) -> None:
        """Stop a server with a signal, leave it down for a while, and restart it on its port."""
        assert server.process
        server.process.send_signal(number)
        await self.in_thread(server.process.wait)
        await asyncio.sleep(away)
        await self.in_thread(server.start)

    async def close(self) -> None:
        """End everything."""
        for process in self.processes.values():
            await process.stop()
        for launcher in self.launchers.values():
            await launcher.close()
        for link in self.links:
            await link.close()
        if self._provider and self._provider.stdin:
            self._provider.stdin.close()
            await self._provider.wait()
        for server in (self.redis, self.postgres):
            await self.in_thread(server.stop)
        self._thread.shutdown()


@asynccontextmanager
async def running(
    folder: Path,
    history: History,
    *,
    webs: int = 2,
    workers: int = 3,
    lease: float = 0,
    cuts: Budget = lambda: None,
    fill: Callable[[str], None] | None = None,
) -> AsyncIterator[Stack]:
    """Start a stack; stop it afterwards. `fill` makes the tables and the user "demo" instead of migrations."""
    stack = Stack(folder, history, webs=webs, workers=workers, lease=lease, cuts=cuts, fill=fill)
    try:
        await stack.open()
        yield stack
    finally:
        await stack.close()
