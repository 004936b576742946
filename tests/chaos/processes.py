"""The service's processes in a run: started quickly, watched by process id, restarted when they die."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from codelab.environment import PROJECT
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.chaos.stack import Stack

#: Seconds before a dead process is restarted.
RESTART = 0.5


class Launcher:
    """A `tests.chaos.launcher`: starts processes of one kind."""

    def __init__(self, kind: str, environment: dict[str, str]) -> None:
        self.kind, self.environment = kind, environment
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.chaos.launcher", self.kind),
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        await self._line()

    async def start(self, kind: str, environment: dict[str, str], log: Path) -> int:
        wish = {"arguments": [kind], "environment": environment, "log": str(log)}
        async with self._lock:
            assert self._process.stdin
            self._process.stdin.write(json.dumps(wish).encode() + b"\n")
            return int(await self._line())

    async def _line(self) -> bytes:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        assert line, f"the launcher of {self.kind} has ended"
        return line

    async def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        await self._process.wait()


class Process:
    """One of the service's processes: its fixed name and its current process id."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.name, self.kind = stack, name, name.partition("-")[0]
        self.pid = 0
        self.frozen = False
        #: Seconds by which the clock of its next process is ahead.
        self.clock = 0.0
        self.port = free_port() if self.kind == "web" else 0
        self.ended = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def worker(self) -> str:
        """Return how the name of this worker in the service's tables begins."""
        return f"worker-{self.pid}-"

    @property
    def alive(self) -> bool:
        return self.pid != 0 and not self.ended.is_set()

    @property
    def log(self) -> Path:
        return self.stack.folder / f"{self.name}.log"

    async def start(self) -> None:
        """Start the process, and restart it whenever it dies."""
        await self._launch()
        self._keeping = asyncio.create_task(self._keep())

    async def _launch(self) -> None:
        launcher = self.stack.launchers["worker" if self.kind == "worker" else "web"]
        environment = self.stack.environment | {"PORT": str(self.port or 1)} | self.stack.planted(self.kind)
        if self.clock:
            environment["CHAOS_CLOCK"] = str(self.clock)
        self.pid = await launcher.start(self.kind, environment, self.log)
        self.ended, self.frozen = asyncio.Event(), False
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self.ended.set()
            return
        loop, ended = asyncio.get_running_loop(), self.ended

        def over() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            ended.set()

        loop.add_reader(handle, over)
        self.stack.history.add("up", process=self.name, pid=self.pid)

    async def _keep(self) -> None:
        while True:
            await self.ended.wait()
            # The worker keeps its turns in the database until their leases expire.
            moment, edge = round(time.monotonic(), 4), self.stack.armed.reached_by(self.pid)
            turns = await self.stack.running_turns(self.worker) if self.kind == "worker" else {}
            self.stack.history.add("died", t=moment, process=self.name, pid=self.pid, edge=edge, turns=turns)
            await asyncio.sleep(max(0.0, moment + RESTART - time.monotonic()))
            await self._launch()

    def signal(self, number: int) -> bool:
        """Send a signal; return whether the process exists."""
        if not self.alive:
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        self.frozen = number == signal.SIGSTOP or (self.frozen and number != signal.SIGCONT)
        return True

    async def stop(self) -> None:
        """Kill the process and do not restart it."""
        if self._keeping:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None
        if self.signal(signal.SIGKILL):
            await self.ended.wait()
