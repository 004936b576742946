"""The command `codelab` as people run it: in a terminal of its own, or with pipes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte

from tests.live.service import Service

PROGRAM = str(Path(sys.executable).parent / "codelab")
WAIT_SECONDS = 60.0


def environment(service: Service, home: Path) -> dict[str, str]:
    """Return the environment of a user whose home is this folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CODELAB_", "XDG_"))}
    return {
        **kept,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "CODELAB_URL": service.url,
        "CODELAB_KEYRING": "no",
        "TERM": "xterm-256color",
        "EDITOR": "true",
        "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",
    }


class Terminal:
    """A program in a pseudo-terminal, and what a person would see of it."""

    def __init__(self, child: pexpect.spawn[bytes], columns: int, rows: int) -> None:
        self.child = child
        self._screen = pyte.HistoryScreen(columns, rows, history=5000)
        self._stream = pyte.ByteStream(self._screen)
        self.output = b""

    @property
    def text(self) -> str:
        """Return all lines, those that have scrolled away too."""
        scrolled = [
            "".join(line[place].data for place in range(self._screen.columns)) for line in self._screen.history.top
        ]
        return "\n".join(line.rstrip() for line in [*scrolled, *self._screen.display])

    def wait_for(self, text: str | re.Pattern[str], *, count: int = 1, seconds: float = WAIT_SECONDS) -> None:
        """Wait until the text, or one that matches the pattern, stands on the screen."""
        pattern = re.compile(re.escape(text)) if isinstance(text, str) else text
        deadline = time.monotonic() + seconds
        while len(pattern.findall(self.text)) < count:
            assert time.monotonic() < deadline, f"{text!r} did not appear:\n{self.text}"
            self.read()

    def enter(self, text: str) -> None:
        """Type a line."""
        self.child.send(f"{text}\r")

    def press(self, keys: str) -> None:
        """Press keys."""
        self.child.send(keys)

    def wait_for_end(self) -> int:
        """Wait until the program ends; return its exit code."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.child.isalive():
            assert time.monotonic() < deadline, self.text
            self.read()
        self.read()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)

    def kill(self) -> None:
        """Kill the program as the kernel would."""
        self.child.kill(9)
        self.child.wait()

    def read(self) -> None:
        """Take what the program has written."""
        try:
            data = self.child.read_nonblocking(65536, timeout=0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            time.sleep(0.01)
            return
        self.output += data
        self._stream.feed(data)


@contextmanager
def terminal(
    service: Service,
    home: Path,
    folder: Path,
    *words: str,
    columns: int = 90,
    rows: int = 30,
    program: str = PROGRAM,
    **variables: str,
) -> Iterator[Terminal]:
    """Run `codelab`, or another program, in a terminal of this size."""
    child = pexpect.spawn(
        program, list(words), cwd=str(folder), env=environment(service, home) | variables, dimensions=(rows, columns)
    )
    try:
        yield Terminal(child, columns, rows)
    finally:
        _end(child)


def _end(child: pexpect.spawn[bytes]) -> None:
    """Ask a program to end, then kill it. A busy machine may take longer for that than pexpect waits."""
    try:
        child.close(force=True)
    except pexpect.ExceptionPexpect:
        child.wait()


def piped(
    service: Service, home: Path, folder: Path, *words: str, text: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `codelab` with pipes."""
    return subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        env=environment(service, home) | variables,
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
