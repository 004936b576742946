"""A whole task in the terminal client: planned, approved, done by several agents, while everything is killed once.

Client, worker and web process are killed with SIGKILL in the middle. In the end the folder is right, and no tool has
run twice.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal, terminal
from tests.conftest import POSTGRES, REDIS
from tests.live.service import Service, running
from tests.live.test_package import TASK, passes

pytestmark = pytest.mark.live

WAIT_SECONDS = 120.0

WAITING = """
SELECT c.call_id, c.tool FROM agent_sessions_approval a JOIN agent_sessions_toolcall c ON c.id = a.call_id
WHERE a.status = 'pending' ORDER BY a.id
"""
ENDED = "SELECT status FROM agent_sessions_turn WHERE status IN ('completed', 'failed', 'cancelled')"


class Person:
    """Approves everything that the screen asks, and restarts the client when it is killed."""

    def __init__(self, service: Service, folder: Path, home: Path, path: str) -> None:
        self._service, self._folder, self._home, self._path = service, folder, home, path
        self._opened = ExitStack()
        self.answered: list[str] = []
        self.screen = self._open()

    def _open(self) -> Terminal:
        self._opened.close()
        screen = self._opened.enter_context(
            terminal(self._service, self._home, self._folder, "chat", columns=100, rows=40, PATH=self._path)
        )
        screen.wait_for("/help")
        return screen

    def kill_client(self) -> None:
        self.screen.kill()
        self.screen = self._open()

    def waits(self) -> tuple[str, str] | None:
        rows = self._service.rows(WAITING)
        return rows[0] if rows else None

    def approve(self) -> None:
        """Answer the question on the screen."""
        waiting = self.waits()
        assert waiting
        self.screen.wait_for("waits for your answer")
        self.screen.enter("y")
        self.wait(lambda: self.waits() != waiting, f"{waiting} is still open")
        self.answered.append(waiting[1])

    def wait(self, is_so: Callable[[], object], problem: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"{problem}:\n{self.screen.text}"
            self.screen.read()

    def close(self) -> None:
        self._opened.close()


def test_a_package_is_written_and_repaired_while_everything_is_killed(tmp_path: Path) -> None:
    folder, home, programs = (tmp_path / name for name in ("work", "home", "programs"))
    for each in (folder, home, programs):
        each.mkdir()
    # What counts how often a command really runs.
    log = tmp_path / "runs.log"
    (programs / "python3").write_text(f'#!/bin/sh\necho run >> "{log}"\nexec "{sys.executable}" "$@"\n')
    (programs / "python3").chmod(0o755)
    with running(tmp_path, postgres=POSTGRES, redis=REDIS, CODELAB_AGENTS="multi") as service:
        person = Person(service, folder, home, f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}")
        try:
            person.screen.press(f"\x1b[200~{TASK}\x1b[201~\r")

            def restart(name: str) -> None:
                service.stop(name, signal_number=signal.SIGKILL)
                service.start(name)

            # By the number of answers before it. The client is killed with a question on its screen, the others too.
            faults: dict[int, Callable[[], None]] = {
                2: person.kill_client,
                3: lambda: restart("worker"),
                5: lambda: restart("web"),
            }
            while not service.rows(ENDED):
                person.wait(lambda: person.waits() or service.rows(ENDED), "nothing happens")
                if person.waits():
                    if fault := faults.pop(len(person.answered), None):
                        fault()
                    person.approve()
            person.screen.wait_for("So:")
        finally:
            person.close()
        calls = service.rows("SELECT tool, status, result FROM agent_sessions_toolcall ORDER BY id")
        assert service.rows("SELECT status FROM agent_sessions_turn") == [("completed",)]
    assert not faults
    assert person.answered == [
        "create_plan",
        "create_directory",
        *["write_file"] * 3,
        "execute_command",
        "apply_diff",
        "execute_command",
    ]
    assert {status for _, status, _ in calls} == {"completed"}
    assert log.read_text().splitlines() == ["run", "run"]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py")) == [
        "greeting.py",
        "tests/__init__.py",
        "tests/test_greeting.py",
    ]
    assert 'return f"Hello, {name}!"' in (folder / "greeting.py").read_text()
    assert passes(folder)
