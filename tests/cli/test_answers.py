"""What people answer, what follows from it, and what `--allow` covers."""

from __future__ import annotations

from typing import Any

import pytest

from codelab_cli.allow import parse_allowed
from codelab_cli.answers import Answer, Rule, draft_of, edited_arguments, parse_answer, parse_rule, propose_rule
from codelab_cli.failures import Failure


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("y", Answer("approve")),
        (" Yes ", Answer("approve")),
        ("n", Answer("reject")),
        ("no", Answer("reject")),
        ("n not this file", Answer("reject", "not this file")),
        ("No, use pathlib", Answer("reject", "use pathlib")),
        ("e", Answer("edit")),
        ("a", Answer("always")),
    ],
)
def test_an_answer(line: str, answer: Answer) -> None:
    assert parse_answer(line) == answer


@pytest.mark.parametrize(
    "line", ["", "yeah, but", "y but", "not this", "nothing", "ye", "ok", "1", "approve", "always do it"]
)
def test_what_is_unclear_is_no_answer(line: str) -> None:
    assert parse_answer(line) is None


def call(tool: str, *, rule: str = "mode: ask", **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": arguments, "rule": rule}


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (call("write_file", path="src/a/b.py", content=""), Rule("write_file", "src/a/**")),
        (call("write_file", path="README.md", content=""), Rule("write_file", "README.md")),
        (call("execute_command", command="pytest -q tests"), Rule("execute_command", "pytest *")),
        (call("execute_command", command="npm test --watch"), Rule("execute_command", "npm test *")),
        (call("execute_command", command="python -m pytest x"), Rule("execute_command", "python -m pytest *")),
        (call("execute_command", command="make", cwd="sub"), Rule("execute_command", "make *", "sub")),
        (call("execute_command", command="a | b", rule="opaque command"), Rule("execute_command", "a | b")),
        (call("mcp__git__log", count=3), Rule("mcp__git__log", "*")),
    ],
)
def test_the_rule_that_is_proposed(payload: dict[str, Any], rule: Rule) -> None:
    assert propose_rule(payload) == rule


def test_a_rule_is_what_the_person_has_written() -> None:
    assert parse_rule("write_file docs/*.md ", Rule("write_file", "docs/**")) == Rule("write_file", "docs/*.md")
    with pytest.raises(Failure):
        parse_rule("write_file", Rule("write_file", "docs/**"))


def test_what_is_edited_of_a_call() -> None:
    command = call("execute_command", command="ls", cwd="src")
    assert draft_of(command).is_short
    assert edited_arguments(command, draft_of(command), "ls -l") == {"command": "ls -l", "cwd": "src"}
    assert draft_of(call("write_file", path="a/b.py", content="x")).suffix == ".py"
    assert edited_arguments(call("move_file"), draft_of(call("move_file")), '{"from": "a"}') == {"from": "a"}
    with pytest.raises(Failure, match="not JSON"):
        edited_arguments(call("move_file"), draft_of(call("move_file")), "{")


@pytest.mark.parametrize(
    ("entries", "payload", "is_covered"),
    [
        ("edit", call("write_file", path="src/a.py"), True),
        ("edit", call("move_file", **{"from": "a", "to": "b"}), True),
        ("edit", call("execute_command", command="ls"), False),
        ("edit", call("write_file", path=".git/hooks/post-commit"), False),
        ("edit:src", call("write_file", path="src/deep/a.py"), True),
        ("edit:src/**", call("apply_diff", path="test/a.py"), False),
        ("edit:*.md", call("write_file", path="docs/a.md"), True),
        ("edit:src/**", call("move_file", **{"from": "src/a", "to": "b"}), False),
        ("write_file:docs", call("write_file", path="docs/a.md"), True),
        ("write_file", call("delete_file", path="a"), False),
        ("edit,command:pytest*", call("execute_command", command="pytest -q"), True),
        ("command:pytest*", call("execute_command", command="pip install x"), False),
        ("command:pytest*", call("execute_command", command="pytest; rm x", rule="opaque command"), False),
        ("command:pytest*", call("execute_command", command="pytest", shell=True), False),
        ("command", call("execute_command", command="a && b", rule="opaque command"), False),
        ("command:a && b", call("execute_command", command="a && b", rule="opaque command"), True),
        ("all", call("execute_command", command="a && b", rule="opaque command"), True),
        ("plan", {"tool": "create_plan"}, True),
        ("edit", {"tool": "create_plan"}, False),
        ("mcp__git__*", call("mcp__git__log"), True),
        ("other", call("mcp__git__log"), True),
        ("mcp__git__*", call("mcp__github__log"), False),
        (r"command:echo a\,b", call("execute_command", command="echo a,b"), True),
    ],
)
def test_what_allow_covers(entries: str, payload: dict[str, Any], is_covered: bool) -> None:
    assert parse_allowed([entries]).covers(payload) is is_covered


def test_allow_never_covers_a_call_that_may_have_run() -> None:
    assert not parse_allowed(["all"]).covers(call("write_file", path="a") | {"unknown": True})


@pytest.mark.parametrize("entry", ["", "edit,", ":x", "edit:"])
def test_an_entry_of_allow_that_is_none(entry: str) -> None:
    with pytest.raises(Failure, match="not an entry of --allow"):
        parse_allowed([entry])
