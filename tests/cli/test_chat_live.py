"""`codelab chat` in a real terminal and in a pipe, against a running service with the scripted model."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from tests.cli.terminal import piped, terminal
from tests.live.service import Service

pytestmark = pytest.mark.live


def test_a_question_that_was_answered_elsewhere_is_not_asked_again(
    service: Service, home: Path, folder: Path, tmp_path: Path
) -> None:
    calls = "\\\n".join(f'/call write_file {{"path": "{name}", "content": ""}}' for name in "abc")
    first = piped(service, home, folder, "chat", "asked-before", text=f"{calls}\ny\ny\ny\n")
    assert first.stdout.count("y(es)") == 3
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    second = piped(service, elsewhere, folder, "chat", "asked-before", text="/say Here.\n")
    assert "y(es)" not in second.stdout
    assert second.stdout.endswith("Here.\n")
    assert second.returncode == 0


def test_a_person_talks_approves_and_leaves(service: Service, home: Path, folder: Path) -> None:
    with terminal(service, home, folder, "chat") as screen:
        screen.wait_for("ready")
        screen.enter("/say # Title\\")
        screen.enter("/say  and **bold** words.")
        screen.wait_for("and bold words.")
        # A diff to approve.
        screen.enter('/call write_file {"path": "a.txt", "content": "one\\ntwo\\n"}')
        screen.wait_for("+two")
        assert b"\x1b[32m+two" in screen.output
        screen.wait_for("waits for your answer")
        screen.enter("perhaps")
        screen.wait_for("Nothing was decided.")
        screen.enter("y")
        screen.wait_for("Done.")
        assert (folder / "a.txt").read_text() == "one\ntwo\n"
        # A rejection with its reason, then a command that is changed before it runs.
        screen.enter('/call execute_command {"command": "touch wrong.txt"}\\')
        screen.enter('/call execute_command {"command": "touch x.txt"}')
        screen.wait_for("$ touch wrong.txt")
        screen.enter("n not this file")
        screen.wait_for("$ touch x.txt")
        screen.enter("e")
        screen.wait_for("Change it;")
        screen.press("\x7f" * len("x.txt") + "right.txt\r")
        screen.wait_for("Edited: execute_command touch right.txt")
        screen.wait_for("Done.", count=2)
        assert [file.name for file in sorted(folder.iterdir())] == ["a.txt", "right.txt"]
        # A rule is shown before it is made. It answers the same kind of call, also one that waits already.
        screen.enter('/call execute_command {"command": "touch r1"}\\')
        screen.enter('/call execute_command {"command": "touch r2"}')
        screen.wait_for("$ touch r1")
        screen.enter("a")
        screen.wait_for("❯ execute_command touch *")
        screen.press("\r")
        screen.wait_for("Rule for this session: allow execute_command touch *")
        screen.wait_for("Approved: execute_command touch r2")
        screen.wait_for("Done.", count=3)
        screen.enter('/call execute_command {"command": "touch r3"}')
        screen.wait_for("Done.", count=4)
        assert (folder / "r3").exists()
        screen.press("\x04")
        assert screen.wait_for_end() == 0
    ((feedback,),) = service.rows(
        "SELECT c.result FROM agent_sessions_toolcall c WHERE c.arguments->>'command' = 'touch wrong.txt'"
    )
    assert "not this file" in str(feedback)


def test_a_killed_client_goes_on_and_shows_everything_once(service: Service, home: Path, folder: Path) -> None:
    command = '{"command": "echo ran >> log.txt", "shell": true}'
    with terminal(service, home, folder, "chat") as screen:
        screen.wait_for("ready")
        screen.enter(f"/tokens 60 30\\\r/call execute_command {command}\\\r/say The end.")
        screen.wait_for("t9 ")
        screen.kill()
        assert "t59" not in screen.text
    with terminal(service, home, folder, "chat") as screen:
        screen.wait_for("$ echo ran >> log.txt")
        assert re.findall(r"\bt\d+", screen.text) == [f"t{number}" for number in range(60)]
        screen.enter("y")
        screen.wait_for("The end.")
        screen.wait_for("ready")
        screen.kill()
    with terminal(service, home, folder, "chat") as screen:
        screen.wait_for("ready")
        assert "The end." not in screen.text
        screen.enter("/say Again.")
        screen.wait_for("Again.")
    assert (folder / "log.txt").read_text() == "ran\n"


def test_steer_queue_and_stop_by_keys_in_a_narrow_terminal(service: Service, home: Path, folder: Path) -> None:
    with terminal(service, home, folder, "chat", columns=34, rows=16) as screen:
        screen.wait_for("ready")
        screen.enter("/tokens 2000 40")
        screen.wait_for("t5 ")
        screen.wait_for("works")
        screen.press("/say queued words\t")
        screen.wait_for("❯ /say queued words")
        screen.press("\x1b")
        screen.wait_for("Stopped.")
        screen.wait_for("\nqueued words")
        screen.press("\x03\x03")
        assert screen.wait_for_end() == 0


def test_a_suspended_client_comes_back(service: Service, home: Path, folder: Path) -> None:
    # Without a shell that controls jobs the kernel stops no process.
    with terminal(service, home, folder, "--norc", "-i", program="/bin/bash") as shell:
        shell.enter("codelab chat")
        shell.wait_for("ready")
        shell.enter("/tokens 40 20")
        shell.wait_for("t5 ")
        shell.press("\x1a")
        shell.wait_for("Stopped")
        shell.enter("fg")
        shell.wait_for("t39")
        assert sorted(set(re.findall(r"\bt\d+", shell.text)), key=lambda name: int(name[1:])) == [
            f"t{number}" for number in range(40)
        ]


def test_lines_of_a_pipe_are_messages_and_answers(service: Service, home: Path, folder: Path) -> None:
    call = '/call write_file {"path": "b.txt", "content": "x"}'
    done = piped(service, home, folder, "chat", "piped", text=f"/say First.\n{call}\ny\n/say Last.\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("First.\n")
    assert done.stdout.endswith("Last.\n")
    assert (folder / "b.txt").read_text() == "x"
    unanswered = piped(service, home, folder, "chat", "piped", text=call.replace("b.txt", "c.txt"))
    assert unanswered.returncode == 3
    assert "First." not in unanswered.stdout
    assert not (folder / "c.txt").exists()


def test_a_plan_is_shown_decided_and_carried_out(service: Service, home: Path, folder: Path) -> None:
    plan = (
        '{"goal": "Two files", "subtasks": [{"id": "a", "description": "/say Wrote it.", "agent": "coder"},'
        ' {"id": "b", "description": "/say Tried it.", "agent": "debug", "dependencies": ["a"]}]}'
    )
    with terminal(service, home, folder, "chat", "--agent", "architect") as screen:
        screen.wait_for("architect")
        screen.enter(f"/call create_plan {plan}\\\r/say Over.")
        screen.wait_for("○ 2. debug: /say Tried it.")
        screen.enter("y")
        screen.wait_for("● debug: /say Tried it.")
        screen.wait_for("The plan is completed: 2 of 2 sub-tasks done.")
        screen.wait_for("ready")


def test_a_second_window_follows_and_approves(service: Service, home: Path, folder: Path) -> None:
    with terminal(service, home, folder, "chat") as first:
        first.wait_for("ready")
        with terminal(service, home, folder, "chat") as second:
            second.wait_for("whose tools another client runs")
            first.enter('/call write_file {"path": "a", "content": "x"}')
            second.wait_for("a(lways)")
            second.enter("y")
            first.wait_for("Done.")
            second.wait_for("Done.")
    assert (folder / "a").read_text() == "x"


def test_a_tool_that_runs_is_shown_with_its_time_and_stopped(service: Service, home: Path, folder: Path) -> None:
    with terminal(service, home, folder, "chat") as screen:
        screen.wait_for("ready")
        screen.enter('/call execute_command {"command": "sleep 300.25"}')
        screen.wait_for("$ sleep 300.25")
        screen.enter("y")
        # A busy machine may skip seconds.
        screen.wait_for(re.compile(r"⚙ execute_command sleep 300\.25 · ([2-9]|\d{2,}) s"))
        screen.press("\x1b")
        screen.wait_for("Stopped.")
        screen.wait_for("ready")
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "300.25"]]
