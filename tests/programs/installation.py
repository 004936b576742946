"""The service as `make run` starts it, with data and ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psycopg

from codelab.environment import PROJECT
from tests.ports import free_port

START_SECONDS = 180.0
STOP_SECONDS = 60.0


class MakeRun:
    """A context in which `make run` runs. `url` is the service's address, `api_key` a key of its demo user."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder, self._environment = folder, environment
        self.url = f"http://127.0.0.1:{free_port()}"
        self.api_key = ""

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what a statement selects in its database."""
        made = json.loads((self._folder / "data" / "postgres" / "server.json").read_text())
        address = f"postgresql://codelab:{made['password']}@127.0.0.1:{made['port']}/codelab"
        with psycopg.connect(address, autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()

    def kill(self, name: str) -> None:
        """Send SIGKILL to one of its processes and all that this has started. It is started again."""
        data = f"CODELAB_DATA_DIR={self._folder / 'data'}".encode()
        killed = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
                if command[1:4] == [b"-m", b"codelab", name.encode()] and data in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
            except (FileNotFoundError, ProcessLookupError):
                continue
        assert killed, f"no {name} runs"

    @property
    def output(self) -> str:
        """What it has printed."""
        return (self._folder / "make-run.log").read_text(errors="replace")

    def __enter__(self) -> MakeRun:
        self._folder.mkdir(parents=True, exist_ok=True)
        # The servers and settings of the caller are not those of this installation.
        theirs = ("CODELAB_", "OPENAI_", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_", "MAKE", "PYTEST_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        environment |= self._environment | {
            "PORT": self.url.rpartition(":")[2],
            "FLOWER_PORT": str(free_port()),
            "CODELAB_DATA_DIR": str(self._folder / "data"),
        }
        with (self._folder / "make-run.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["make", "run"], cwd=PROJECT, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait()
            self._create_api_key()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", trust_env=False, timeout=5).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"`make run` did not start:\n{self.output[-3000:]}")

    def _create_api_key(self) -> None:
        password = json.loads((self._folder / "data" / "credentials.json").read_text())["demo_password"]
        form = {"grant_type": "password", "client_id": "codelab-flutter-app", "username": "demo", "password": password}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30) as http:
            token = http.post("/oauth/token", data=form).raise_for_status().json()["access_token"]
            answer = http.post(
                "/api/v1/api-keys",
                json={"name": "programs", "scopes": ["llm", "api:read", "api:write"]},
                headers={"Authorization": f"Bearer {token}"},
            )
        self.api_key = answer.raise_for_status().json()["key"]

    def _stop(self) -> None:
        # As Ctrl-C does: to make and to all that it has started.
        os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
