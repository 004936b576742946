"""Descriptions of tools for models, and the errors for invalid calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from agents import tools
from agents.arguments import MAX_CONTENT_CHARACTERS
from agents.schemas import PORTABLE_KEYWORDS
from agents.tools import BASELINE_TOOLS, TOOLS, InvalidArguments, RunsOn, ToolKind, offer, parse, paths_of
from tests.agents.test_paths import SPELLINGS

AGENTS = ["coder", "architect", "debug", "ask"]

DIFF = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE"

#: A call of each tool that is as it should be.
VALID: dict[str, dict[str, Any]] = {
    "read_file": {"path": "src/main.py", "start_line": 1, "end_line": 20},
    "write_file": {"path": "src/main.py", "content": "print()\n"},
    "apply_diff": {"path": "src/main.py", "diff": DIFF},
    "list_files": {"path": "."},
    "search_in_code": {"query": "TODO"},
    "create_directory": {"path": "src"},
    "delete_file": {"path": "old.py"},
    "move_file": {"from": "a.py", "to": "b.py"},
    "execute_command": {"command": "pytest -q", "cwd": "backend"},
    "git_diff": {"path": "src"},
    "git_commit": {"message": "Add a thing", "paths": ["src/main.py"]},
    "attempt_completion": {"result": "Done."},
    "ask_followup_question": {"question": "Which one?", "suggestions": ["This", "That"]},
    "switch_mode": {"mode": "coder", "reason": "It is code."},
    "create_plan": {"subtasks": [{"id": "1", "description": "Do it.", "agent": "coder"}]},
    "calculator": {"expr": "1 + 1"},
}


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for child in schema.get("properties", {}).values():
        yield from nodes(child)
    if "items" in schema:
        yield from nodes(schema["items"])


def refused(name: str, arguments: dict[str, Any]) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as caught:
        parse(name, arguments, agents=AGENTS)
    return caught.value


def test_every_tool_has_a_valid_call_here() -> None:
    assert VALID.keys() == TOOLS.keys()


@pytest.mark.parametrize("name", TOOLS)
def test_a_schema_holds_only_what_every_provider_reads(name: str) -> None:
    (tool,) = offer([name], agents=AGENTS)
    assert tool.parameters["type"] == "object"
    for node in nodes(tool.parameters):
        assert node.keys() <= PORTABLE_KEYWORDS
        assert node["type"] in {"object", "array", "string", "integer", "boolean"}
    assert set(tool.parameters.get("required", [])) <= tool.parameters["properties"].keys()
    assert len(tool.description) < 200


def test_all_schemas_together_are_small() -> None:
    written = json.dumps([[tool.description, tool.parameters] for tool in offer(TOOLS, agents=AGENTS)])
    # About 1,500 tokens with every model call.
    assert len(written) < 7000


def test_agents_are_a_choice_where_one_is_asked_for() -> None:
    switch, plan = offer(["switch_mode", "create_plan"], agents=AGENTS)
    assert switch.parameters["properties"]["mode"]["enum"] == AGENTS
    subtask = plan.parameters["properties"]["subtasks"]["items"]
    assert subtask["properties"]["agent"]["enum"] == AGENTS
    assert subtask["required"] == ["id", "description", "agent"]


@pytest.mark.parametrize("name", TOOLS)
def test_a_valid_call_passes_as_it_is_and_once_more(name: str) -> None:
    parsed = parse(name, VALID[name], agents=AGENTS)
    assert parsed == VALID[name]
    assert parse(name, parsed, agents=AGENTS) == parsed
    tools.complete(name, parsed)


@pytest.mark.parametrize("name", [name for name, spec in TOOLS.items() if spec.paths])
def test_no_tool_takes_a_trap_for_a_path(name: str) -> None:
    for argument, (_, path) in product(TOOLS[name].paths, SPELLINGS):
        given = VALID[name] | {argument: [path] if argument == "paths" else path}
        if argument == "cwd" and not path:
            assert "cwd" not in parse(name, given)
        else:
            assert refused(name, given).unsafe_path


def test_paths_are_passed_on_in_one_spelling() -> None:
    assert parse("read_file", {"path": "./src/./main.py"}) == {"path": "src/main.py"}
    assert parse("move_file", {"from": "./a", "to": "b/"}) == {"from": "a", "to": "b"}


@pytest.mark.parametrize(
    ("name", "read", "written"),
    [
        ("read_file", ("src/main.py",), ()),
        ("write_file", ("src/main.py",), ("src/main.py",)),
        ("move_file", ("a.py", "b.py"), ("a.py", "b.py")),
        ("execute_command", ("backend",), ()),
        ("git_commit", ("src/main.py",), ()),
        ("search_in_code", (".",), ()),
        ("calculator", (), ()),
    ],
)
def test_the_paths_of_a_call_are_known(name: str, read: tuple[str, ...], written: tuple[str, ...]) -> None:
    assert paths_of(name, VALID[name]) == read
    assert paths_of(name, VALID[name], writes_only=True) == written


@pytest.mark.parametrize(
    ("name", "arguments", "part"),
    [
        ("read_file", {}, "`path` is missing"),
        ("read_file", {"path": "a", "lines": 3}, "`lines` is not an argument of this tool"),
        ("read_file", {"path": "a", "start_line": 0}, "`start_line`: input should be greater than or equal to 1"),
        ("read_file", {"path": "a", "start_line": 5, "end_line": 4}, "`end_line` is before `start_line`"),
        ("read_file", {"path": 5}, "`path`: input should be a valid string"),
        ("write_file", {"path": "a", "content": {"json": 1}}, "`content`: input should be a valid string"),
        (
            "write_file",
            {"path": "a", "content": "x" * (MAX_CONTENT_CHARACTERS + 1)},
            "`content`: string should have at most",
        ),
        ("write_file", {"path": "a", "content": "\ud800"}, "`content`: "),
        ("write_file", {"path": "a", "content": "", "encoding": "utf-8; rm"}, "`encoding`: "),
        ("execute_command", {"command": "ls", "timeout": 301}, "`timeout`: input should be less than or equal to 300"),
        ("execute_command", {"command": ""}, "`command`: string should have at least 1 character"),
        ("search_in_code", {"query": "x", "max_results": 1001}, "`max_results`: "),
        ("ask_followup_question", {"question": "x?", "suggestions": ["only one"]}, "`suggestions`: "),
        ("ask_followup_question", {"question": "x?", "suggestions": list("abcde")}, "`suggestions`: "),
        ("switch_mode", {"mode": "root"}, "agent 'root' does not exist; choose one of coder, architect, debug, ask"),
        ("create_plan", {"subtasks": []}, "`subtasks`: "),
        ("create_plan", {"subtasks": [{"id": "1", "description": "x", "agent": "me"}]}, "agent 'me' does not exist"),
        ("apply_diff", {"path": "a", "diff": "--- a\n+++ b"}, "`diff` must be blocks"),
        ("apply_diff", {"path": "a", "diff": "<<<<<<< SEARCH\nx\n>>>>>>> REPLACE"}, "`diff` must be blocks"),
        ("delete_file", {"path": "."}, "the workspace itself"),
        ("move_file", {"from": "a", "to": "./a"}, "two different"),
        ("move_file", {"from": "a", "to": "a/b"}, "`to` is inside `from`"),
        ("git_commit", {"message": "x", "paths": ["a", "../b"]}, "`paths.1`: The path '../b' is refused"),
    ],
)
def test_a_wrong_call_gets_a_sentence_that_says_what_to_correct(name: str, arguments: Any, part: str) -> None:
    sentence = str(refused(name, arguments))
    assert sentence.startswith(f"{name} was not run: ")
    assert part in sentence
    assert sentence.endswith("Correct them and call it again.")
    assert len(sentence) < 2500


def test_what_models_write_for_a_number_or_nothing_is_understood() -> None:
    assert parse("read_file", {"path": "a", "start_line": "5", "end_line": None}) == {"path": "a", "start_line": 5}
    assert parse("execute_command", {"command": "ls", "cwd": "", "shell": "false"}) == {"command": "ls", "shell": False}
    plan = parse("create_plan", {"subtasks": [{"id": 1, "description": "x", "agent": "ask", "dependencies": None}]})
    assert plan["subtasks"][0] == {"id": "1", "description": "x", "agent": "ask", "dependencies": []}


def test_a_sentence_does_not_repeat_what_was_sent() -> None:
    sentence = str(refused("write_file", {"path": "a", "content": ["a secret"] * 9, "b": "a secret"}))
    assert "a secret" not in sentence


def test_what_touches_the_workspace_runs_in_the_client() -> None:
    for spec in TOOLS.values():
        assert (spec.runs_on is RunsOn.SERVER) == (spec.kind is ToolKind.CONTROL)
        assert set(spec.writes) <= set(spec.paths)
        assert bool(spec.writes) == (spec.kind is ToolKind.EDIT)
    assert all(TOOLS[name].runs_on is RunsOn.CLIENT for name in BASELINE_TOOLS)
