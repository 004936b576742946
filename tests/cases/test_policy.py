"""Cases of what may run unasked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from agents.policy import Mode, PolicyDecision, Verdict, decide
from agents.roles import UNIVERSAL
from agents.rules import Rule
from llm.types import ModelToolCall
from tests.cases.files import Json, cases

CASES = cases("policy")

#: Every tool that changes files.
CHANGES: dict[str, list[Json]] = {
    "write_file": [{"path": "PATH", "content": "{}"}],
    "apply_diff": [{"path": "PATH", "diff": "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE"}],
    "move_file": [{"from": "PATH", "to": "b.txt"}, {"from": "a.txt", "to": "PATH"}],
    "delete_file": [{"path": "PATH"}],
    "create_directory": [{"path": "PATH"}],
}


def judge(tool: str, arguments: Json, *, mode: str, rules: Iterable[Json] = ()) -> PolicyDecision:
    call = ModelToolCall(id="c", name=tool, arguments=arguments)
    return decide(call, role=UNIVERSAL, mode=Mode(mode), rules=[Rule.model_validate(rule) for rule in rules])


def judge_command(case: Json, command: str) -> PolicyDecision:
    given = case["input"]
    return judge("execute_command", {"command": command}, mode=given["mode"], rules=given.get("rules", ()))


def judge_changes(path: str, mode: str) -> dict[str, PolicyDecision]:
    """Return the decision about every change of a path."""
    return {
        f"{tool} {number}": judge(tool, {k: v.replace("PATH", path) for k, v in arguments.items()}, mode=mode)
        for tool, variants in CHANGES.items()
        for number, arguments in enumerate(variants)
    }


@pytest.mark.parametrize("case_id", [name for name in CASES if name != "protected-files-of-other-tools"])
def test_command(case_id: str) -> None:
    case = CASES[case_id]
    wanted = (Verdict.DENY, Verdict.ASK) if case_id == "deny-without-slash-and-commands" else (Verdict.ASK,)
    decisions = {command: judge_command(case, command) for command in case["input"]["for_each_command"]}
    assert {command: each.rule for command, each in decisions.items() if each.verdict not in wanted} == {}


@pytest.mark.parametrize("case_id", ["protected-files-of-other-tools"])
def test_changes(case_id: str) -> None:
    given = CASES[case_id]["input"]
    assert given["mode"] == "auto-edit and full"
    wrong = {
        (mode, path, change): (each.verdict, each.rule)
        for mode in ("auto-edit", "full")
        for path in given["for_each_path"]
        for change, each in judge_changes(path, mode).items()
        if (each.verdict, each.rule) != (Verdict.ASK, "protected path")
    }
    assert wrong == {}


def _command(case_id: str, command: str, verdict: Verdict) -> Any:
    return pytest.param(case_id, lambda: judge_command(CASES[case_id], command), verdict, id=f"{case_id}: {command}")


def _change(path: str, verdict: Verdict) -> list[Any]:
    name = "protected-files-of-other-tools"
    return [
        pytest.param(
            name, lambda mode=mode: judge_changes(path, mode)["write_file 0"], verdict, id=f"{name}: {path} {mode}"
        )
        for mode in ("auto-edit", "full")
    ]


def _read(path: str) -> Any:
    name = "deny-without-slash-and-commands"
    rules = CASES[name]["input"]["rules"]
    return pytest.param(
        name,
        lambda: judge("read_file", {"path": path}, mode="full", rules=rules),
        Verdict.DENY,
        id=f"{name}: read {path}",
    )


@pytest.mark.parametrize(
    ("case_id", "decided", "verdict"),
    [
        _command("deny-without-slash-and-commands", "cat .env.example", Verdict.ALLOW),
        _read(".env"),
        _read("certs/server.pem"),
        _command("protected-files-by-a-wildcard-rule", "cp a.txt b.txt", Verdict.ALLOW),
        _command("protected-files-by-plain-commands", "npm install", Verdict.ALLOW),
        _command("protected-files-by-plain-commands", "python3 -c pass", Verdict.ASK),
        _command("protected-files-by-plain-commands", "tee .envrc", Verdict.ASK),
        _command("protected-files-by-plain-commands", "rsync -a hooks/ .git/hooks/", Verdict.ASK),
        _command("protected-files-by-plain-commands", "git config core.hooksPath hooks", Verdict.ASK),
        *_change(".mcp.json", Verdict.ASK),
        *_change(".vscode/settings.json", Verdict.ASK),
        *_change("src/ok.txt", Verdict.ALLOW),
    ],
)
def test_near_inputs_stay_right(case_id: str, decided: Any, verdict: Verdict) -> None:
    assert "keep" in CASES[case_id]
    assert decided().verdict is verdict
