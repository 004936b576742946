"""`codelab run`, `sessions`, `export` and `login` against a running service, as a script or a CI job uses them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.cli.terminal import PROGRAM, environment, piped
from tests.live.service import PROJECT, Service

pytestmark = pytest.mark.live


def test_a_task_runs_what_is_allowed_and_rejects_the_rest(service: Service, home: Path, folder: Path) -> None:
    task = "\n".join(
        [
            '/call write_file {"path": "test_a.py", "content": "def test_a():\\n    assert True\\n"}',
            '/call execute_command {"command": "pytest --version"}',
            '/call execute_command {"command": "pytest --version; touch broken"}',
            '/call execute_command {"command": "touch broken"}',
            "/say All done.",
        ]
    )
    done = piped(service, home, folder, "run", task, "--allow", "edit,command:pytest*", "--json", "--session", "ci-1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    finished = lines[-1]["payload"]
    assert lines[-1]["kind"] == "run_finished"
    assert done.returncode == finished["exit_code"] == 3
    assert finished["rejected"] == ["execute_command pytest --version; touch broken", "execute_command touch broken"]
    assert finished["text"] == "All done."
    assert [line["number"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert (folder / "test_a.py").read_text() == "def test_a():\n    assert True\n"
    assert not (folder / "broken").exists()


def test_the_answer_alone_is_on_standard_output(service: Service, home: Path, folder: Path) -> None:
    done = piped(
        service, home, folder, "run", '/call write_file {"path": "a", "content": ""}\n/say Hello.', "--allow", "edit"
    )
    assert (done.returncode, done.stdout) == (0, "Hello.\n")
    assert "write_file a" in done.stderr


EXIT_CODES: list[tuple[str, list[str], tuple[int, str]]] = [
    ("/fail refused", [], (1, "model_refused")),
    ('/call ask_followup_question {"question": "Which?"}', ["--allow", "all"], (3, "asks a question")),
    ("/stall", ["--timeout", "1"], (6, "--timeout")),
    ("/say x", ["--allow", "edit:"], (2, "not an entry of --allow")),
    (" ", [], (2, "empty")),
    ("/say x", ["--folder", "none"], (2, "not a folder")),
    ("/say x", ["--agent", "nobody"], (1, "nobody")),
    ("/say x", ["--url", "http://127.0.0.1:9"], (5, "make run")),
]


def test_exit_codes(service: Service, home: Path, folder: Path) -> None:
    # All at once: most of the time is that of Python's start.
    with ThreadPoolExecutor(len(EXIT_CODES)) as pool:
        runs = [pool.submit(piped, service, home, folder, "run", task, *options) for task, options, _ in EXIT_CODES]
    for run, (task, _, (code, words)) in zip(runs, EXIT_CODES, strict=True):
        assert (run.result().returncode, task) == (code, task), run.result().stderr
        assert words in run.result().stderr
        assert "Traceback" not in run.result().stderr


def test_a_run_that_is_killed_goes_on_with_its_task(service: Service, home: Path, folder: Path) -> None:
    command = '{"command": "echo ran >> log.txt", "shell": true}'
    task = f"/say One.\n/call execute_command {command}\n/tokens 60 20\n/say End."
    words = ["run", task, "--allow", "all", "--session", "killed-run"]
    first = subprocess.Popen(
        [PROGRAM, *words], cwd=folder, env=environment(service, home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with first:
        assert first.stdout
        seen = b""
        while b"t5 " not in seen:
            seen += os.read(first.stdout.fileno(), 1000)
        first.kill()
    again = piped(service, home, folder, *words)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("t59 End.\n")
    assert (folder / "log.txt").read_text() == "ran\n"
    # It has ended, so the same words are another task now.
    assert "t5 " in piped(service, home, folder, *words).stdout
    assert (folder / "log.txt").read_text() == "ran\nran\n"


def test_a_run_in_a_session_shows_and_decides_nothing_of_before(
    service: Service, home: Path, folder: Path, tmp_path: Path
) -> None:
    call = '/call write_file {"path": "a", "content": ""}'
    words = ["run", "--session", "shared", "--allow", "edit"]
    assert piped(service, home, folder, *words, f"{call}\n/say Old words.").returncode == 0
    # Another machine, which has never shown this session.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = piped(service, elsewhere, folder, "run", "--session", "shared", "/say New words.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "New words.\n", "")
    done = piped(service, elsewhere, folder, "run", "--session", "shared", "/say More words.", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "Old words." not in done.stdout
    assert lines[-1]["payload"]["text"] == "More words."
    assert lines[-1]["payload"]["rejected"] == []


def test_a_run_without_a_reader_is_not_done(service: Service, home: Path, folder: Path) -> None:
    words = [PROGRAM, "run", "/tokens 200 20", "--session", "no-reader"]
    with subprocess.Popen(
        words, cwd=folder, env=environment(service, home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert run.stdout
        assert os.read(run.stdout.fileno(), 3) == b"t0 "
        run.stdout.close()
        assert run.wait(60) == 1


def test_a_run_that_is_ended_stops_its_turn(service: Service, home: Path, folder: Path) -> None:
    words = [PROGRAM, "run", "/say Begun.\n/stall", "--session", "ended-run"]
    with subprocess.Popen(
        words, cwd=folder, env=environment(service, home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdout
        assert os.read(run.stdout.fileno(), 1000) == b"Begun."
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 130
    deadline = time.monotonic() + 60
    statement = (
        "SELECT t.status FROM agent_sessions_turn t JOIN agent_sessions_session s ON s.id = t.session_id"
        " WHERE s.key = %s"
    )
    while service.rows(statement, "ended-run") != [("cancelled",)]:
        assert time.monotonic() < deadline, service.rows(statement, "ended-run")
        time.sleep(0.05)


def test_sessions_are_listed_and_exported(service: Service, home: Path, folder: Path) -> None:
    piped(service, home, folder, "run", "/say Kept words.", "--session", "kept")
    listed = piped(service, home, folder, "sessions", "--json")
    assert "kept" in [row["session_id"] for row in json.loads(listed.stdout)]
    assert "kept\t/say Kept words.\t" in piped(service, home, folder, "sessions").stdout
    assert "## Assistant" in piped(service, home, folder, "export", "kept").stdout
    written = piped(service, home, folder, "export", "kept", "--format", "json", "--output", "out.json")
    assert (written.returncode, written.stdout) == (0, "")
    messages = json.loads((folder / "out.json").read_text())["messages"]
    assert [message["content"] for message in messages] == ["/say Kept words.", "Kept words."]
    missing = piped(service, home, folder, "export", "none")
    assert (missing.returncode, missing.stderr) == (1, "You have no session `none`.\n")


def test_signing_in_and_out(service: Service, home: Path, folder: Path) -> None:
    wrong = piped(service, home, folder, "login", "--username", "bob", text="wrong\n")
    assert wrong.returncode == 4
    signed_in = piped(service, home, folder, "login", "--username", "bob", text=f"{service.demo_password}\n")
    assert signed_in.returncode == 0, signed_in.stderr
    assert piped(service, home, folder, "run", "/say I am Bob.", "--session", "bobs").returncode == 0
    statement = (
        "SELECT u.username FROM agent_sessions_session s JOIN auth_user u ON u.id = s.owner_id WHERE s.key = 'bobs'"
    )
    assert service.rows(statement) == [("bob",)]
    assert piped(service, home, folder, "logout").returncode == 0
    assert json.loads((home / "state" / "codelab" / "credentials.json").read_text()) == {}
    bad_key = piped(service, home, folder, "sessions", CODELAB_API_KEY="clk_none")
    assert bad_key.returncode == 4
    assert "CODELAB_API_KEY" in bad_key.stderr


def test_the_step_of_a_ci_job_in_the_documentation(service: Service, home: Path, folder: Path) -> None:
    page = (PROJECT / "docs" / "cli.md").read_text(encoding="utf-8")
    (step,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (entry,) = yaml.safe_load(step)
    script = entry["run"]
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    (folder / "README.md").write_text("Old.\n")
    subprocess.run(["git", "add", "README.md"], cwd=folder, check=True)
    call = '/call write_file {"path": "README.md", "content": "New.\\n"}'
    tasks = {
        f"{call}\n/say Corrected.": (0, "Corrected.\n README.md | 2 +-"),
        f"{call.replace('README.md', 'code.py')}\n/say Not done.": (3, "Not done.\n::warning::"),
        "/fail refused": (1, ""),
    }
    for task, (code, output) in tasks.items():
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=environment(service, home) | {"TASK": task},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == (code if code != 3 else 0), done.stderr
        assert output in done.stdout
        assert json.loads((folder / "events.jsonl").read_text().splitlines()[-1])["payload"]["exit_code"] == code
    assert not (folder / "code.py").exists()
