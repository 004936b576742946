"""A call runs at most once, also when the client is killed with SIGKILL at any point."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codelab_cli import journal as journals
from codelab_cli.journal import Call, Journal, JournalBusy
from codelab_cli.outcome import Outcome
from codelab_cli.tools import Toolbox

#: Runs one call that leaves a line in a file; kills itself at the point that is named.
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from codelab_cli.journal import Journal
from codelab_cli.tools import Toolbox, toolbox as module

root, state, point = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Killed(Journal):
    def begin(self, call):
        if point == "before it begins": die()
        earlier = super().begin(call)
        if point == "when it has begun": die()
        return earlier
    def finish(self, call, outcome):
        if point == "when it has run": die()
        super().finish(call, outcome)
        if point == "before it is told": die()

async def main():
    with Killed(state) as journal:
        async with Toolbox(root, journal) as toolbox:
            call = asyncio.create_task(toolbox.run("call_1", "execute_command", {"command": sys.argv[4]}))
            if point == "while it runs":
                while not (root / "ran").exists():
                    await asyncio.sleep(0.01)
                die()
            print((await call).result["exit_code"], flush=True)
            if point == "when it is told": die()
asyncio.run(main())
"""

RUN = "echo x >> ran; sleep 0.5"


def start(root: Path, state: Path, point: str) -> int:
    command = [sys.executable, "-c", PROGRAM, str(root), str(state), point, RUN]
    return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize(
    ("point", "runs", "is_unknown"),
    [
        ("before it begins", 1, False),
        ("when it has begun", 0, True),
        ("while it runs", 1, True),
        ("when it has run", 1, True),
        ("before it is told", 1, False),
        ("when it is told", 1, False),
    ],
)
async def test_a_killed_client_runs_nothing_twice(tmp_path: Path, point: str, runs: int, is_unknown: bool) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    assert await asyncio.to_thread(start, root, state, point) == -signal.SIGKILL

    # The server gives the call to the same client again, as often as it comes.
    for _ in range(2):
        with Journal(state) as journal:
            async with Toolbox(root, journal) as toolbox:
                outcome = await toolbox.run("call_1", "execute_command", {"command": RUN})
        assert outcome.is_unknown is is_unknown
        if is_unknown:
            assert outcome.error is not None
            assert outcome.error.startswith("unknown: the client ended while execute_command ran.")
        else:
            assert outcome.result["exit_code"] == 0
    ran = root / "ran"
    assert (ran.read_text().count("x") if ran.exists() else 0) == runs


async def test_a_killed_write_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    (root / "a").write_text("old")
    (root / ".codelab-write-0123").write_text("ne")
    with Journal(state) as journal:
        assert journal.begin(Call("call_1", "write_file", {"path": "a", "content": "new"})) is None

    with Journal(state) as journal:
        async with Toolbox(root, journal) as toolbox:
            outcome = await toolbox.run("call_1", "write_file", {"path": "a", "content": "new"})
    assert outcome.is_unknown
    # What was not written to its end is gone.
    assert [each.name for each in root.glob("*")] == ["a"]
    assert (root / "a").read_text() == "old"


async def test_a_call_that_comes_twice_runs_once(tmp_path: Path) -> None:
    with Journal(tmp_path / "state") as journal:
        async with Toolbox(tmp_path, journal) as toolbox:
            arguments = {"command": "echo x >> ran; sleep 0.3"}
            outcomes = await asyncio.gather(*(toolbox.run("1", "execute_command", arguments) for _ in range(5)))
            later = await toolbox.run("1", "execute_command", arguments)
            other = await toolbox.run("1", "execute_command", {"command": "echo y >> ran"})
            turn = await toolbox.run("1", "execute_command", {"command": "echo z >> ran"}, turn_id="another")
    assert {outcome.result["exit_code"] for outcome in (*outcomes, later, turn)} == {0}
    assert other.error == "Another call with the id 1 has run already, so this one was not run."
    assert (tmp_path / "ran").read_text() == "x\nz\n"


def test_a_second_process_is_refused_or_waits(tmp_path: Path) -> None:
    holder = "import sys, time; from pathlib import Path; from codelab_cli.journal import Journal\n" + (
        "journal = Journal(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(JournalBusy, match="Another client runs the tools of this session"):
            Journal(tmp_path)
        process.kill()
        # The lock ends with the process.
        Journal(tmp_path, wait_seconds=10).close()


def test_a_client_keeps_its_id_and_sessions_have_journals_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    ids = []
    for session in ("one", "one", "two"):
        with Journal.of_session("http://127.0.0.1:8000", session, tmp_path) as journal:
            ids.append(journal.client_id)
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_a_journal_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_CALLS", 4)
    with Journal(tmp_path) as journal:
        for number in range(10):
            call = Call(str(number), "read_file", {"path": "a"})
            journal.begin(call)
            journal.finish(call, Outcome(result={"n": number}))
    database = sqlite3.connect(tmp_path / "calls.sqlite")
    database.execute("UPDATE calls SET began_at = ? WHERE call_id = '9'", (time.time() - journals.MAX_AGE_SECONDS - 1,))
    database.commit()
    database.close()

    with Journal(tmp_path) as journal:
        # It was removed, so it is new; one that is kept has its outcome.
        assert journal.begin(Call("9", "read_file", {"path": "a"})) is None
        assert journal.begin(Call("8", "read_file", {"path": "a"})) == Outcome(result={"n": 8})
        assert journal.begin(Call("2", "read_file", {"path": "a"})) is None


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    outcomes = [
        Outcome(result={"success": True, "diff": "ж"}),
        Outcome(parts=({"type": "text", "text": "a"}, {"type": "image", "image_id": "1"}), is_error=True),
        Outcome(error="no"),
    ]
    calls = [Call(str(number), "x", {}) for number in range(len(outcomes))]
    with Journal(tmp_path) as journal:
        for call, outcome in zip(calls, outcomes, strict=True):
            journal.begin(call)
            journal.finish(call, outcome)
    with Journal(tmp_path) as journal:
        assert [journal.begin(call) for call in calls] == outcomes
    assert json.dumps(outcomes[1].fields())


async def test_a_call_does_not_run_when_the_journal_cannot_be_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state")
    async with Toolbox(tmp_path, journal) as toolbox:
        journal.close()
        outcome = await toolbox.run("1", "write_file", {"path": "a", "content": "x"})
    assert outcome.error is not None
    assert "journal cannot be written" in outcome.error
    assert not (tmp_path / "a").exists()
