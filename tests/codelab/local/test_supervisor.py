"""The supervisor as a process of its own, with stand-ins for the programs: it is killed and signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codelab.local.operating_system import arguments_of

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]
# Stages: one quiet server, then a polite program with a grandchild, a stubborn one and, on request, a broken one.
SCRIPT = """
import asyncio, signal, sys
from pathlib import Path
from codelab.local.output import Output
from codelab.local.supervisor import Program, Supervisor, supervise

ANNOUNCE = "import os, signal, subprocess, sys, time; say = lambda *words: print(*words, flush=True);"
LEAVE = "signal.signal(signal.SIGTERM, lambda *_: (say('bye'), sys.exit(0)));"
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
SLEEP = "time.sleep(60)"

def python(code):
    return [sys.executable, "-c", ANNOUNCE + code + SLEEP]

async def start():
    supervisor.start(Program("server", python(LEAVE + "say('pid', os.getpid());")))
    await asyncio.sleep(0.3)
    child = "child = subprocess.Popen(['sleep', '60']); say('pid', os.getpid(), child.pid);"
    programs = [
        Program("polite", python(LEAVE + child)),
        Program("stubborn", python(IGNORE + "say('pid', os.getpid());"), stop_seconds=0.5),
    ]
    if "broken" in sys.argv:
        programs.append(Program("broken", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]))
    supervisor.start(*programs)
    await supervisor.attempt(asyncio.sleep(30 if "broken" in sys.argv else 0.1))
    supervisor.output.say("started")

supervisor = Supervisor(Output(Path(sys.argv[1])))
sys.exit(asyncio.run(supervise(supervisor, start)))
"""


class Run:
    """A supervisor and what it has printed so far."""

    def __init__(self, logs: Path, *arguments: str) -> None:
        self.log = logs / "screen.txt"
        with self.log.open("wb") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, str(logs), *arguments],
                cwd=ROOT,
                stdout=screen,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        return [line.partition(" ")[2] for line in self.log.read_text().splitlines()]

    def pids(self, name: str) -> list[int]:
        """Return the process ids that a stand-in has announced, those of its last start last."""
        announced = [
            line.split("| pid ")[1] for line in self.lines() if line.startswith(f"{name} ") and "| pid " in line
        ]
        return [int(pid) for line in announced for pid in line.split()]

    def wait_for(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + 60
        while sum(text in line for line in self.lines()) < times:
            assert time.monotonic() < deadline, f"{text!r} is not in\n{self.log.read_text()}"
            time.sleep(0.02)

    def up(self) -> None:
        self.wait_for("started")
        self.wait_for("| pid ", 3)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    run.up()
    yield run
    run.process.kill()
    run.process.wait()


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 60
    for pid in pids:
        while arguments_of(pid):
            assert time.monotonic() < deadline, f"process {pid} is still there: {arguments_of(pid)}"
            time.sleep(0.02)


def test_a_killed_program_comes_back_after_a_short_pause(running: Run) -> None:
    program, grandchild = running.pids("polite")
    os.kill(program, signal.SIGKILL)
    running.wait_for("polite was ended by SIGKILL; restarting it in 0.3 s.")
    running.wait_for("| pid ", 4)
    wait_until_gone(grandchild)
    assert arguments_of(running.pids("polite")[2])
    assert arguments_of(running.pids("server")[0])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(running: Run, signum: signal.Signals) -> None:
    pids = [pid for name in ("server", "polite", "stubborn") for pid in running.pids(name)]
    running.process.send_signal(signum)
    assert running.process.wait(60) == 0
    wait_until_gone(*pids)
    ends = [line.split(" ")[0] for line in running.lines() if "| bye" in line or "killing it" in line]
    assert ends == ["polite", "codelab", "server"]


def test_a_second_sigterm_does_not_kill(running: Run) -> None:
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert any(line.startswith("server ") and "| bye" in line for line in running.lines())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no signal for the death of a parent")
def test_a_killed_supervisor_leaves_no_program(running: Run) -> None:
    running.process.kill()
    grandchild = running.pids("polite")[1]
    wait_until_gone(running.pids("server")[0], running.pids("polite")[0], running.pids("stubborn")[0])
    os.kill(grandchild, signal.SIGKILL)


def test_a_start_is_abandoned_when_a_program_keeps_dying(tmp_path: Path) -> None:
    run = Run(tmp_path, "broken")
    assert run.process.wait(60) == 1
    text = run.log.read_text()
    assert "broken ended 3 times during the start. Its last lines:" in text
    assert "restarting it in 0.6 s" in text
    assert text.count("the reason") >= 4
    assert (tmp_path / "broken.log").read_text() == "the reason\n" * 3
    wait_until_gone(*run.pids("server"), *run.pids("polite"), *run.pids("stubborn"))
