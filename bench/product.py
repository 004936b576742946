"""The product as started by `make run`, on a data folder of its own, with additional web and worker processes.

Nothing is switched off for a measurement: PostgreSQL writes through to the disk; limits, logs, metrics and Flower are
on. `SETTINGS` has every setting that is not the default.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil

from bench.processes import SUPERVISOR
from codelab.environment import PROJECT
from codelab.local.operating_system import LOOPBACK, free_port, tie_to_parent

#: Settings that are not the default, and why.
SETTINGS = {
    "CODELAB_MODEL": "openai/fake",
    # An orchestrator would add a model call to the first turn of each session.
    "CODELAB_AGENTS": "single",
}
#: Removed from the environment: the operator's own settings must not change the measurement.
REMOVED_PREFIXES = ("CODELAB_", "OPENAI_", "PROMETHEUS_", "FLOWER_", "DATABASE_URL", "REDIS_URL", "POSTGRES_", "REDIS_")
START_TIMEOUT_SECONDS = 180.0


class NotStarted(Exception):
    """A process did not start; the text contains its last output."""


class Product:
    """All processes of one installation, running inside the context."""

    def __init__(self, folder: Path, provider: int, *, webs: int, workers: int) -> None:
        self.folder = folder
        self.ports = [free_port()]
        self.kinds: dict[str, list[psutil.Process]] = {}
        self._webs, self._workers = webs, workers
        self._own: list[subprocess.Popen[bytes]] = []
        self._settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(REMOVED_PREFIXES)},
            **SETTINGS,
            "OPENAI_API_BASE": f"http://{LOOPBACK}:{provider}/v1",
            "CODELAB_DATA_DIR": str(folder),
            "PORT": str(self.ports[0]),
            "FLOWER_PORT": str(free_port()),
            # Makes the supervisor end with this process, in whatever way.
            "MAKELEVEL": "1",
        }
        self._environment = self._settings

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._start_all()
        return self

    def restart(self) -> float:
        """Stop everything and start it again on the same data; return the seconds that `make run` says it took."""
        self._stop()
        self._start_all()
        found = re.search(r"\(started in ([\d.]+) s\)", self._log("supervisor"))
        return float(found[1]) if found else math.nan

    def _start_all(self) -> None:
        self.ports, self._environment = self.ports[:1], self._settings
        (self.folder / "supervisor.log").unlink(missing_ok=True)
        try:
            supervisor = self._start("supervisor", "codelab.local")
            self._until(lambda: "is running (started" in self._log("supervisor"), supervisor, "supervisor")
            self.kinds = _kinds(psutil.Process(supervisor.pid))
            # From now on with the passwords, addresses and keys that `make run` generated.
            self._environment = self.kinds["web"][0].environ()
            self.scale(webs=self._webs, workers=self._workers)
        except BaseException:
            self._stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def scale(self, *, webs: int, workers: int) -> None:
        """Start processes until each kind has this many."""
        while len(self.kinds["web"]) < webs:
            port = free_port()
            self._environment["PORT"] = str(port)
            name = f"web-{len(self.kinds['web']) + 1}"
            self._add("web", name, lambda port=port: _answers(port))  # type: ignore[misc]
            self.ports.append(port)
        while len(self.kinds["worker"]) < workers:
            name = f"worker-{len(self.kinds['worker']) + 1}"
            self._add("worker", name, lambda name=name: "worker_started" in self._log(name))  # type: ignore[misc]

    def urls(self, paths: Sequence[str]) -> list[str]:
        """Return a URL for each path, alternating between the web processes."""
        return [f"ws://{LOOPBACK}:{self.ports[i % len(self.ports)]}{path}" for i, path in enumerate(paths)]

    @property
    def database(self) -> str:
        """The address of the database."""
        return self._environment["DATABASE_URL"]

    def fill(self, sessions: Sequence[dict[str, Any]]) -> list[int]:
        """Create sessions through the product's own database layer (bench.filling); return their last event numbers."""
        done = subprocess.run(
            [sys.executable, "-m", "bench.filling"],
            cwd=PROJECT,
            env=self._environment | {"CODELAB_LOG_LEVEL": "ERROR"},
            input=json.dumps(sessions).encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        numbers: list[int] = json.loads(done.stdout)
        return numbers

    def _add(self, kind: str, name: str, ready: Callable[[], bool]) -> None:
        process = self._start(name, "codelab", kind)
        self._until(ready, process, name)
        self.kinds[kind].append(psutil.Process(process.pid))

    def _start(self, name: str, *module: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # It makes one system call and takes no lock, so threads of this process do not matter.
                preexec_fn=tie_to_parent(signal.SIGTERM),  # noqa: PLW1509
            )
        self._own.append(process)
        return process

    def _log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _until(self, ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{name} did not start. Its last lines:\n{self._log(name)[-3000:]}")
            time.sleep(0.1)

    def _stop(self) -> None:
        # The supervisor started first and runs the servers that the others need.
        for process in reversed(self._own):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            if process.poll() is None:
                process.kill()
        self._own.clear()


def _kinds(supervisor: psutil.Process) -> dict[str, list[psutil.Process]]:
    """Return the supervisor's children by kind."""
    kinds = {SUPERVISOR: [supervisor]}
    for child in supervisor.children():
        command = child.cmdline()
        if "codelab" in command:
            kinds.setdefault(command[-1], []).append(child)
        elif command:
            server = Path(command[0]).name
            kind = "postgres" if server == "postgres" else "redis"
            kinds.setdefault(kind, []).append(child)
    return kinds


def _answers(port: int) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"http://{LOOPBACK}:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False
