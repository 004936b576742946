"""Rules that a person may choose for a call: each covers the call, and the narrowest comes first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.client_tools import ClientTool, ToolDefinition
from agents.policy import Mode, Verdict, decide, parse_call
from agents.roles import ROLES
from agents.rule_choices import RuleChoice, choices
from agents.tools import TOOLS
from llm.types import ModelToolCall
from tests.agents.test_commands import TRAPS
from tests.agents.test_tools import VALID

ROLE = ROLES["coder"].model_copy(update={"tools": tuple(TOOLS)})


def choose(name: str, *, defined: dict[str, ClientTool] | None = None, **arguments: Any) -> list[RuleChoice]:
    call = ModelToolCall(id="c", name=name, arguments=arguments)
    return choices(parse_call(call, ROLE, None, defined or {}))


def shown(found: list[RuleChoice]) -> list[tuple[str, str]]:
    return [(str(each.coverage), each.rule.subject) for each in found]


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("write_file", {"path": "src/a/b.py"}, ["file src/a/b.py", "folder src/a/**", "workspace **"]),
        ("apply_diff", {"path": "a.py"}, ["name a.py", "workspace **"]),
        ("move_file", {"from": "src/a.py", "to": "src/old/a.py"}, ["folder src/**", "workspace **"]),
        ("move_file", {"from": "a.py", "to": "old/a.py"}, ["workspace **"]),
        # Other programs run or trust these: a rule has to name them.
        ("write_file", {"path": ".git/config"}, ["file .git/config"]),
        ("write_file", {"path": "pyproject.toml"}, ["name pyproject.toml"]),
        ("move_file", {"from": "a.py", "to": ".git/hooks/a"}, []),
        ("execute_command", {"command": "npm test --watch"}, ["command npm test --watch", "prefix npm test *"]),
        ("execute_command", {"command": "make"}, ["command make"]),
        ("execute_command", {"command": "rm -rf build"}, ["command rm -rf build"]),
        # Only its own whole text covers an opaque command.
        ("execute_command", {"command": "make lint && make test"}, ["command make lint && make test"]),
        ("execute_command", {"command": "rm *.py; ls"}, []),
        ("execute_command", {"command": "x" * 1001}, []),
        ("git_commit", {"message": "Mend it"}, ["tool **"]),
    ],
)
def test_the_choices_of_a_call(tool: str, arguments: dict[str, Any], expected: list[str]) -> None:
    more = {**VALID[tool], **arguments} if tool != "execute_command" else arguments
    assert [" ".join(each) for each in shown(choose(tool, **more))] == expected


def test_a_command_may_run_in_its_own_folder_only() -> None:
    (choice,) = choose("execute_command", command="make", cwd="docs")
    assert choice.rule.folder == "docs"


def test_a_tool_of_the_client_is_allowed_as_a_whole() -> None:
    tool = ClientTool.of(ToolDefinition(name="mcp__mail__send", description="Sends mail."))
    assert shown(choose("mcp__mail__send", defined={tool.name: tool})) == [("tool", "*")]


commands = st.one_of(st.sampled_from(TRAPS), st.text("ab */.-\"'&;|=", min_size=1, max_size=20))
paths = st.from_regex(r"[a.]{1,3}(/[b.g]{1,3}){0,3}", fullmatch=True)


@given(
    st.one_of(
        commands.map(lambda text: ("execute_command", {"command": text})),
        paths.map(lambda path: ("write_file", {"path": path, "content": ""})),
    )
)
def test_a_chosen_rule_allows_the_call(call: tuple[str, dict[str, Any]]) -> None:
    requested = ModelToolCall(id="c", name=call[0], arguments=call[1])
    try:
        found = choices(parse_call(requested, ROLE, None, {}))
    except ValueError:
        return
    for choice in found:
        decision = decide(requested, role=ROLE, mode=Mode.ASK, rules=[choice.rule])
        assert decision.verdict is Verdict.ALLOW, json.dumps([call, choice.rule.label])
