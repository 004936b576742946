"""The steps of `make run`, from the servers to the summary of URLs at the end."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from codelab.environment import VERSION, Environment
from codelab.local.accounts import (
    ADMIN,
    CREDENTIALS,
    DEMO,
    RESET,
    Credentials,
    is_prepared,
    load_credentials,
    mark_shown,
)
from codelab.local.embedded_servers import PostgresServer, RedisServer
from codelab.local.managed_server import ManagedServer
from codelab.local.operating_system import StartupError
from codelab.local.supervisor import Program, Supervisor, until

#: The processes of the service, as arguments of `python -m codelab`.
SERVICE = ("web", "worker", "beat", "flower")
HEALTH_TIMEOUT_SECONDS = 60.0
SERVER_TIMEOUT_SECONDS = 60.0


def address(host: str, port: int) -> str:
    """Return host:port for a browser on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def describe_health(body: str) -> str:
    """Return the body of /health as text for people, a line for each check when it is JSON."""
    try:
        checks = json.loads(body)
    except ValueError:
        return " ".join(body.split())[:1000]
    if isinstance(checks, dict) and isinstance(checks.get("checks"), dict):
        checks = checks["checks"]
    if not isinstance(checks, dict):
        return str(checks)[:1000]
    return "\n".join(
        f"{name}: {state if isinstance(state, str) else json.dumps(state)}" for name, state in checks.items()
    )


class Startup:
    """One start of the service: its settings, generated secrets, servers and programs."""

    def __init__(self, settings: Environment, supervisor: Supervisor, started_at: float) -> None:
        self.settings = settings
        self.supervisor = supervisor
        self.started_at = started_at
        self.folder = settings.data_dir
        self.web = address(settings.host, settings.port)
        self.health = "no answer yet"
        # Without the environment's proxies, which cannot reach this machine. One for all requests, because making one
        # reads the machine's certificates: 19 ms of a core that the starting processes need.
        self._opener = build_opener(ProxyHandler({}))
        self.postgres = self.redis = None
        if not settings.database_url:
            self.postgres = PostgresServer(self.folder / "postgres", port=settings.postgres_port)
        if not settings.redis_url:
            self.redis = RedisServer(self.folder / "redis", port=settings.redis_port)

    async def __call__(self) -> None:
        """Start everything and print the summary; raise `StartupError` when something cannot be started."""
        say, attempt = self.supervisor.output.say, self.supervisor.attempt
        credentials = load_credentials(self.folder)
        await self._start_servers([server for server in (self.postgres, self.redis) if server])
        self._set_environment(credentials)
        # In an external database the users' passwords are not ours to change.
        options = [RESET] if self.postgres and not credentials.shown else []
        if options or not await asyncio.to_thread(is_prepared, self._database_url()):
            say("Migrating the database …")
            command = [sys.executable, "-m", "codelab.local.accounts", *options]
            await self.supervisor.run(Program("database", command, on_screen=False))
        else:
            say("The database is up to date.")
        say(f"Starting {', '.join(SERVICE)} …")
        self.supervisor.start(*(Program(name, [sys.executable, "-m", "codelab", name]) for name in SERVICE))
        if not await attempt(until(lambda: self._healthy() and self.supervisor.steady(), HEALTH_TIMEOUT_SECONDS)):
            reasons = (
                f"The service is not healthy after {HEALTH_TIMEOUT_SECONDS:.0f} s. http://{self.web}/health reports:"
            )
            raise StartupError(f"{reasons}\n{self.health}\nThe logs are in {self.supervisor.output.logs}.")
        self.supervisor.output.block(self._summary(credentials))
        mark_shown(self.folder, credentials)

    def _database_url(self) -> str:
        external = self.settings.database_url
        return external.get_secret_value() if external else self.postgres.url if self.postgres else ""

    async def _start_servers(self, servers: Sequence[ManagedServer]) -> None:
        for server in servers:
            self.supervisor.output.say(f"Starting {server.name}, data in {server.folder} …")
            await asyncio.to_thread(server.prepare)
        self.supervisor.start(
            *(
                Program(
                    server.name.lower(),
                    server.command(),
                    stop_signal=server.stop_signal,
                    stop_seconds=server.stop_seconds,
                    kill_signal=server.kill_signal,
                    death_signal=server.death_signal,
                    on_screen=False,
                )
                for server in servers
            )
        )
        for server in servers:
            if not await self.supervisor.attempt(until(server.ready, SERVER_TIMEOUT_SECONDS)):
                raise StartupError(f"{server.name} does not answer; its log is in {self.supervisor.output.logs}.")

    def _set_environment(self, credentials: Credentials) -> None:
        settings, variables = self.settings, {"PYTHONUNBUFFERED": "1"}
        if self.postgres:
            variables["DATABASE_URL"] = self.postgres.url
        if self.redis:
            variables["REDIS_URL"] = self.redis.url
        if not settings.secret_key:
            variables["CODELAB_SECRET_KEY"] = credentials.secret_key
        if not settings.flower_password:
            variables["FLOWER_PASSWORD"] = credentials.flower_password
        if "CODELAB_OPEN_ACCESS_USER" not in os.environ:
            variables["CODELAB_OPEN_ACCESS_USER"] = DEMO
        if not os.environ.get("CODELAB_WORKER_GRACE_SECONDS"):
            # Ctrl-C ends a session of work; the turns go on with the next start.
            variables["CODELAB_WORKER_GRACE_SECONDS"] = "0"
        if not os.environ.get("CODELAB_LOG_FORMAT"):
            variables["CODELAB_LOG_FORMAT"] = "text"
        if not os.environ.get("CODELAB_DRAIN_SECONDS"):
            # The supervisor waits for 10 s, and so does the person at the keyboard.
            variables["CODELAB_DRAIN_SECONDS"] = "5"
        # The admin and Flower link to each other.
        variables["CODELAB_WEB_URL"] = settings.web_url or f"http://{self.web}"
        flower = address(settings.flower_host, settings.flower_port)
        variables["CODELAB_FLOWER_URL"] = settings.flower_url or f"http://{flower}"
        metrics = settings.metrics_dir or self.folder / "metrics"
        variables["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
        metrics.mkdir(parents=True, exist_ok=True)
        # Otherwise metrics of processes that have ended would still count.
        for old in metrics.glob("*.db"):
            old.unlink()
        os.environ.update(variables)

    def _healthy(self) -> bool:
        host = self.settings.allowed_hosts.split(",")[0].strip().lstrip(".")
        headers = {"Host": host} if host not in ("", "*") else {}
        if self.settings.https:
            headers["X-Forwarded-Proto"] = "https"
        request = Request(f"http://{self.web}/health", headers=headers | {"Accept": "application/json"})
        try:
            with self._opener.open(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except HTTPError as error:
            self.health = describe_health(error.read().decode(errors="replace"))
        except OSError as error:
            self.health = str(getattr(error, "reason", error))
        return False

    def _summary(self, credentials: Credentials) -> list[str]:
        settings, web = self.settings, self.web
        flower = address(settings.flower_host, settings.flower_port)
        stored = f"password in {self.folder / CREDENTIALS}"

        def password(generated: str) -> str:
            return stored if credentials.shown else f"password {generated}"

        flower_password = "the password you set" if settings.flower_password else password(credentials.flower_password)
        model = settings.model
        if model == "scripted":
            model = "scripted (built-in; CODELAB_MODEL=openai/… and OPENAI_API_KEY=… for a language model)"
        rows = [
            ("Chat", f"http://{web}/"),
            ("Terminal", f"{Path(sys.executable).parent / 'codelab'} --url http://{web} chat, or make chat"),
            ("WebSocket", f"ws://{web}/ws/{{session}}"),
            ("API", f"http://{web}/api/v1/docs"),
            ("Demo user", f"{DEMO}, {password(credentials.demo_password)}"),
            ("Sign in", f"http://{web}/login, or POST /oauth/token with client_id=codelab-flutter-app"),
            ("Admin", f"http://{web}/admin/ as {ADMIN}, {password(credentials.admin_password)}"),
            ("Flower", f"http://{flower}/ as {ADMIN}, {flower_password}"),
            ("Metrics", f"http://{web}/metrics"),
            ("Model", model),
            ("Data, logs", str(self.folder)),
        ]
        seconds = time.monotonic() - self.started_at
        notice = (
            []
            if credentials.shown
            else [f"  The passwords are shown only this once; they are stored in {self.folder / CREDENTIALS}."]
        )
        return [
            "",
            f"  CodeLab AI Service {VERSION} is running (started in {seconds:.1f} s).",
            "",
            *(f"  {name:<12}{text}" for name, text in rows),
            "",
            *notice,
            "  Ctrl-C stops everything.",
            "",
        ]
