"""Commands: what was approved is what is run, in a group that ends with the call, within bounds."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codelab_cli.journal import Journal
from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import Toolbox, commands, shells
from tests.cli.tools.conftest import Runner


def runs(marker: str) -> bool:
    """Return whether a process with a text in its command line runs."""
    for process in psutil.process_iter(["cmdline", "status"]):
        if marker in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE:
            return True
    return False


async def until(marker: str, *, is_running: bool) -> None:
    for _ in range(200):
        if runs(marker) is is_running:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{marker}: running is {not is_running}")


async def test_a_command_answers_with_its_output_and_exit_code(tools: Runner, root: Path) -> None:
    result = await tools.result("execute_command", command="ls -a")
    assert result | {"duration_ms": 0} == {
        "command": "ls -a",
        "exit_code": 0,
        "stdout": ".\n..\n",
        "stderr": "",
        "duration_ms": 0,
        "timed_out": False,
    }
    failed = await tools.result("execute_command", command="ls nothing")
    assert failed["exit_code"] == 2
    assert "nothing" in failed["stderr"]
    (root / "src").mkdir()
    assert (await tools.result("execute_command", command="pwd", cwd="src"))["stdout"] == f"{root}/src\n"
    assert await tools.error("execute_command", command="pwd", cwd="no") == "The folder no does not exist"


async def test_words_are_run_without_a_shell_and_shell_syntax_with_one(tools: Runner, root: Path) -> None:
    (root / "a b").touch()

    async def output(command: str, **more: bool) -> str:
        return str((await tools.result("execute_command", command=command, **more))["stdout"])

    assert await output("echo 'a  b' \"c\" d\\ e") == "a  b c d e\n"
    assert await output("echo '$HOME' '*'") == "$HOME *\n"
    assert await output("echo *") == "a b\n"
    assert await output("echo one && echo two | tr t T") == "one\nTwo\n"
    assert await output("X=1; cd / && pwd; echo $X") == "/\n1\n"
    assert await output("echo plain", shell=True) == "plain\n"
    assert "cannot be read" in await tools.error("execute_command", command="echo 'a")
    assert await tools.error("execute_command", command="no-such-program -x") == (
        "The program 'no-such-program' was not found"
    )


async def test_programs_are_not_looked_for_in_the_workspace(
    tools: Runner, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "shop-tool").write_text("#!/bin/sh\necho mine\n")
    (root / "shop-tool").chmod(0o755)
    monkeypatch.setenv("PATH", f":.:{os.environ['PATH']}")

    assert "was not found" in await tools.error("execute_command", command="shop-tool")
    assert (await tools.result("execute_command", command="./shop-tool"))["stdout"] == "mine\n"


async def test_a_command_has_no_input_and_no_terminal(tools: Runner) -> None:
    assert (await tools.result("execute_command", command="cat", timeout=20))["stdout"] == ""
    result = await tools.result("execute_command", command="(echo hi > /dev/tty) 2>/dev/null || echo none")
    assert result["stdout"] == "none\n"


async def test_long_output_keeps_its_beginning_and_end(tools: Runner) -> None:
    result = await tools.result("execute_command", command="seq 1 1000000")
    assert result["stdout"].startswith("1\n2\n3\n")
    assert result["stdout"].endswith("\n999999\n1000000\n")
    assert "bytes left out" in result["stdout"]
    assert len(result["stdout"]) < 3 * commands.KEPT_BYTES


async def test_a_time_limit_ends_the_whole_group(tools: Runner, tmp_path: Path) -> None:
    began = time.monotonic()
    result = await tools.result("execute_command", command="echo begun; sleep 61.25 & sleep 61.25", timeout=2)

    # The commands themselves end after 61 s.
    assert time.monotonic() - began < 40
    assert (result["timed_out"], result["exit_code"], result["stdout"]) == (True, 143, "begun\n")
    assert not runs("61.25")


async def test_a_command_that_ignores_the_first_signal_is_killed(tools: Runner) -> None:
    result = await tools.result("execute_command", command="trap '' TERM; sleep 62.25; sleep 62.25", timeout=1)
    assert (result["timed_out"], result["exit_code"]) == (True, 137)
    assert not runs("62.25")


async def test_what_a_command_leaves_in_the_background_ends_with_it(tools: Runner) -> None:
    result = await tools.result("execute_command", command="sleep 63.25 & echo done")
    assert result["stdout"] == "done\n"
    assert not runs("63.25")


async def test_a_cancelled_call_ends_its_command_and_is_told_as_stopped(root: Path, journal: Journal) -> None:
    async with Toolbox(root, journal) as toolbox:
        call = asyncio.create_task(toolbox.run("1", "execute_command", {"command": "sleep 64.25"}))
        await until("64.25", is_running=True)
        toolbox.cancel("1")
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not runs("64.25")
        again = await toolbox.run("1", "execute_command", {"command": "sleep 64.25"})
        assert again.error == "execute_command was stopped before its end. A part of it may have been done."


async def test_closing_the_client_ends_commands(root: Path, journal: Journal) -> None:
    toolbox = Toolbox(root, journal)
    call = asyncio.create_task(toolbox.run("1", "execute_command", {"command": "sleep 65.25"}))
    await until("65.25", is_running=True)
    await toolbox.close()
    assert not runs("65.25")
    with pytest.raises(asyncio.CancelledError):
        await call


PROGRAM = """
import asyncio, sys
from pathlib import Path
from codelab_cli.journal import Journal
from codelab_cli.tools import Toolbox
async def main():
    with Journal(Path(sys.argv[2])) as journal:
        async with Toolbox(Path(sys.argv[1]), journal) as toolbox:
            await toolbox.run("1", "execute_command", {"command": "sleep 66.25 & sleep 66.25"})
asyncio.run(main())
"""


async def test_commands_end_when_the_client_is_killed(root: Path, tmp_path: Path) -> None:
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, str(root), str(tmp_path / "killed"))
    await until("66.25", is_running=True)
    client.send_signal(signal.SIGKILL)
    await client.wait()
    await until("66.25", is_running=False)


WORDS = st.text(alphabet="ab $'\"\\*?~#&|;<>(){}[]!=\n-/.ж", min_size=1, max_size=25)
SHELL = shutil.which("bash") or "/bin/sh"


@given(WORDS)
def test_without_a_shell_the_words_are_those_that_a_shell_makes(text: str) -> None:
    """The first word is a program that exists, so the text says all that is run."""
    command = f"printf %s/ {text}"
    try:
        words = shells.split(command, shell=False)
    except ToolFailed:
        return
    if words[:2] == [shells.find_shell(), "-c"]:
        assert words[2] == command
        return
    shell = subprocess.run([SHELL, "-c", command], capture_output=True, check=False)
    plain = subprocess.run(["/usr/bin/printf", *words[1:]], capture_output=True, check=False)
    assert plain.stdout == shell.stdout


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


async def test_git_shows_and_commits(tools: Runner, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Alice")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "alice@example.org")
    assert "git diff failed" in await tools.error("git_diff")
    git(root, "init", "--quiet")
    (root / "a.py").write_text("one\n")
    (root / "b.py").write_text("b\n")

    assert "Nothing is staged" in await tools.error("git_commit", message="Begin")
    first = await tools.result("git_commit", message="Begin", paths=["a.py"])
    assert git(root, "log", "--format=%H %s") == f"{first['commit']} Begin\n"
    (root / "a.py").write_text("two\n")
    shown = (await tools.result("git_diff"))["diff"]
    assert "-one\n+two\n" in shown
    assert (await tools.result("git_diff", staged=True)) == {"success": True, "diff": ""}
    (root / "sub").mkdir()
    assert (await tools.result("git_diff", path="sub"))["diff"] == ""
    assert "is refused" in await tools.error("git_commit", message="x", paths=["../x"])


async def test_a_commit_of_a_folder_leaves_the_rest_of_its_repository_alone(
    tools: Runner, root: Path, tmp_path: Path
) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "outside.txt").write_text("x")
    (root / "a.py").write_text("one\n")
    git(tmp_path, "add", "outside.txt")

    error = await tools.error("git_commit", message="Begin", paths=["a.py"])
    assert error == "outside.txt is staged and outside the workspace, so nothing was committed"
