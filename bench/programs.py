"""The processes around the product: provider, floor and load client, each controlled through its pipes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

import psutil

from codelab.environment import PROJECT


class Program:
    """A module of this package that runs as a process and ends with its input."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"bench.{module}", *arguments],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.watched = psutil.Process(self.process.pid)
        #: Reads the output to its end, for programs whose lines are not answers.
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._reader:
            self._reader.join()
        self.process.stdout.close()

    def line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise ChildProcessError(f"{self.process.args!r} has ended: see above")
        return line


class Provider(Program):
    """The fake provider; records when each request arrived and when connections closed early."""

    def __init__(self) -> None:
        super().__init__("provider")
        self.port = int(self.line())
        self.times: dict[tuple[str, str], float] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            what, wish_id, moment = json.loads(line)
            self.times[what, wish_id] = moment

    def when(self, what: str, wish_id: str, seconds: float = 3) -> float | None:
        """Return when something happened to a request, None when it does not within these seconds."""
        deadline = time.monotonic() + seconds
        while (what, wish_id) not in self.times and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.times.get((what, wish_id))


class Relay(Program):
    """The floor, a bare relay."""

    def __init__(self, provider: Provider) -> None:
        super().__init__("relay", str(provider.port))
        self.url = f"ws://127.0.0.1:{self.line().strip()}/"


class Client(Program):
    """The load client."""

    def __init__(self) -> None:
        super().__init__("client")

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Execute a command and return its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.line())
        return answer
