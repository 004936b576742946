"""Which calls run, which need approval, which are refused. Alice owns the session; the model does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.policy import Mode, PolicyDecision, Verdict, decide
from agents.roles import ROLES, Role, routed_roles
from agents.rules import Effect, Rule
from agents.tools import TOOLS, ToolKind
from llm.types import ModelToolCall
from tests.agents.test_commands import TRAPS as COMMAND_TRAPS
from tests.agents.test_paths import SPELLINGS
from tests.agents.test_tools import VALID
from tests.cpu import cpu_seconds

AGENTS = [role.name for role in routed_roles()]
CODER, ARCHITECT, ASK = ROLES["coder"], ROLES["architect"], ROLES["ask"]
#: Has every tool, so that nothing but the policy stands in the way.
EVERYTHING = CODER.model_copy(update={"name": "everything", "tools": tuple(TOOLS)})


def judge(
    name: str,
    arguments: dict[str, Any] | None = None,
    *,
    role: Role = EVERYTHING,
    mode: Mode = Mode.ASK,
    rules: list[Rule] | None = None,
    **more: Any,
) -> PolicyDecision:
    call = ModelToolCall(id="c", name=name, arguments=VALID[name] if arguments is None else arguments)
    return decide(call, role=role, mode=mode, rules=rules or [], agents=AGENTS, **more)


def run(command: str, **more: Any) -> PolicyDecision:
    arguments: dict[str, Any] = {"command": command, **{key: more.pop(key) for key in ("cwd", "shell") if key in more}}
    return judge("execute_command", arguments, **more)


def allow(tool: str = "*", subject: str = "*", **more: Any) -> Rule:
    return Rule(effect=Effect.ALLOW, tool=tool, subject=subject, **more)


def deny(tool: str = "*", subject: str = "*", **more: Any) -> Rule:
    return Rule(effect=Effect.DENY, tool=tool, subject=subject, **more)


# Modes

A, Q = Verdict.ALLOW, Verdict.ASK

READ, EDIT = {"path": "src/main.py"}, {"path": "src/main.py", "content": ""}


@pytest.mark.parametrize(
    ("name", "arguments", "verdicts"),
    [
        ("read_file", READ, [A, A, A, A]),
        ("list_files", {"path": "."}, [A, A, A, A]),
        ("search_in_code", {"query": "x"}, [A, A, A, A]),
        ("git_diff", {}, [A, A, A, A]),
        ("write_file", EDIT, [Q, Q, A, A]),
        ("create_directory", {"path": "src"}, [Q, Q, A, A]),
        ("delete_file", {"path": "src/old.py"}, [Q, Q, A, A]),
        ("move_file", {"from": "a", "to": "b"}, [Q, Q, A, A]),
        ("write_file", EDIT | {"path": ".git/hooks/pre-commit"}, [Q, Q, Q, Q]),
        ("write_file", EDIT | {"path": "git.bat"}, [Q, Q, Q, Q]),
        ("move_file", {"from": "x/HEAD", "to": "y/z"}, [Q, Q, Q, Q]),
        ("move_file", {"from": "a", "to": ".vscode/tasks.json"}, [Q, Q, Q, Q]),
        ("execute_command", {"command": "git status"}, [Q, A, A, A]),
        ("execute_command", {"command": "ls -la"}, [Q, A, A, A]),
        ("execute_command", {"command": "ls -la", "cwd": "vendor"}, [Q, Q, Q, A]),
        ("execute_command", {"command": "pytest -q"}, [Q, Q, Q, A]),
        ("execute_command", {"command": "pytest -q | tail"}, [Q, Q, Q, Q]),
        ("execute_command", {"command": "ls", "shell": True}, [Q, Q, Q, Q]),
        ("git_commit", {"message": "x"}, [Q, Q, Q, A]),
        ("create_plan", None, [Q, Q, Q, Q]),
        ("attempt_completion", None, [A, A, A, A]),
        ("ask_followup_question", None, [A, A, A, A]),
        ("switch_mode", None, [A, A, A, A]),
        ("calculator", None, [A, A, A, A]),
    ],
)
def test_what_runs_without_approval_in_each_mode(
    name: str, arguments: dict[str, Any] | None, verdicts: list[Verdict]
) -> None:
    assert [judge(name, arguments, mode=mode).verdict for mode in Mode] == verdicts


def test_each_mode_allows_what_the_one_before_it_allows() -> None:
    for name in TOOLS:
        verdicts = [judge(name, mode=mode).verdict for mode in Mode]
        assert verdicts == sorted(verdicts, key=[Q, A].index)


@pytest.mark.parametrize(
    ("kind", "text"), COMMAND_TRAPS, ids=[f"{kind}: {text[:30]!a}" for kind, text in COMMAND_TRAPS]
)
def test_no_mode_and_no_wildcard_lets_a_trap_run(kind: str, text: str) -> None:
    rules = [
        allow(),
        allow("execute_command", "*"),
        allow("execute_*", text.split(" ", maxsplit=1)[0] + " *", folder="**"),
    ]
    for mode in Mode:
        assert run(text, mode=mode, rules=[rule for rule in rules if rule.subject.strip()]).verdict is not Verdict.ALLOW


@pytest.mark.parametrize("name", [name for name, spec in TOOLS.items() if spec.paths])
def test_no_rule_lets_a_path_out_of_the_workspace(name: str) -> None:
    for argument in TOOLS[name].paths:
        for _, path in SPELLINGS:
            if path:
                given = VALID[name] | {argument: [path] if argument == "paths" else path}
                decision = judge(name, given, mode=Mode.FULL, rules=[allow(), allow(name, "**")])
                assert (decision.verdict, decision.rule) == (Verdict.DENY, "path")
                assert decision.arguments == {}


# What is refused before anybody is asked


@pytest.mark.parametrize(
    ("name", "arguments", "role", "rule", "part"),
    [
        ("rm_rf", {}, CODER, "unknown tool", "Tool 'rm_rf' does not exist. Your tools are: read_file"),
        ("echo", {"text": "x"}, CODER, "unknown tool", "Tool 'echo' does not exist"),
        ("write_file", EDIT, ASK, "role tools", "The tool write_file is not allowed for Ask"),
        ("execute_command", {"command": "ls"}, ARCHITECT, "role tools", "not allowed for Architect"),
        ("create_plan", None, CODER, "role tools", "not allowed for Coder"),
        ("write_file", EDIT, ARCHITECT, "role files", "match *.md, and src/main.py does not"),
        ("write_file", EDIT | {"path": "docs/x.md/y.py"}, ARCHITECT, "role files", "docs/x.md/y.py does not"),
        ("apply_diff", None, ARCHITECT, "role files", "Leave it to another agent"),
        ("read_file", {}, CODER, "arguments", "`path` is missing"),
        ("switch_mode", {"mode": "root"}, CODER, "arguments", "agent 'root' does not exist"),
        ("read_file", {"path": "../x"}, CODER, "path", "refused"),
    ],
)
def test_what_cannot_be_allowed_is_refused_with_a_sentence_for_the_model(
    name: str, arguments: dict[str, Any] | None, role: Role, rule: str, part: str
) -> None:
    for mode in Mode:
        decision = judge(name, arguments, role=role, mode=mode, rules=[allow(), allow(name, "**")])
        assert (decision.verdict, decision.rule) == (Verdict.DENY, rule)
        assert part in decision.reason


def test_the_architect_writes_markdown() -> None:
    for path in ("README.md", "docs/design/a.md"):
        assert judge("write_file", EDIT | {"path": path}, role=ARCHITECT).verdict is Verdict.ASK


def test_a_tool_that_the_client_lacks_is_refused() -> None:
    decision = judge("delete_file", role=CODER, offered=["read_file"])
    assert (decision.verdict, decision.rule) == (Verdict.DENY, "client tools")
    assert decision.reason == "The user's editor cannot run delete_file. Your tools are: read_file."


# Rules of the user


@pytest.mark.parametrize(
    ("rule", "path", "allowed"),
    [
        (allow("write_file", "src/**"), "src/a/b.py", True),
        (allow("write_file", "src/**"), "tests/a.py", False),
        (allow("write_file", "*.py"), "src/main.py", True),
        (allow("write_*"), "src/main.py", True),
        (allow("read_file"), "src/main.py", False),
        (allow("write_file", agent="everything"), "a", True),
        (allow("write_file", agent="every*"), "a", True),
        (allow("write_file", agent="coder"), "a", False),
        (allow("write_file", "SRC/**"), "src/a", False),
        (allow("write_file", "**"), ".git/config", False),
        (allow(), "sub/.GIT/config", False),
        (allow("write_file", ".git/config"), ".git/config", True),
        (allow("write_file", ".vscode/*"), ".vscode/tasks.json", False),
    ],
)
def test_always_allow_covers_what_it_says(rule: Rule, path: str, allowed: bool) -> None:
    decision = judge("write_file", EDIT | {"path": path}, rules=[rule])
    assert (decision.verdict is Verdict.ALLOW) is allowed
    assert decision.rule == (rule.label if allowed else "mode: ask")


def test_all_paths_of_a_call_must_be_allowed_and_none_denied() -> None:
    move = {"from": "src/a", "to": "lib/a"}
    assert judge("move_file", move, rules=[allow("move_file", "src/**")]).verdict is Verdict.ASK
    assert judge("move_file", move, rules=[allow("move_file", "src/**"), allow("move_file", "*")]).verdict is A
    assert judge("move_file", move, rules=[deny("move_file", "lib/**"), allow()]).verdict is Verdict.DENY


@pytest.mark.parametrize("rules", [[deny("*", "secret/**"), allow()], [allow(), deny("*", "secret/**")]])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_file", {"path": "secret/key"}),
        ("read_file", {"path": "./Secret/KEY"}),
        ("list_files", {"path": "secret"}),
        ("move_file", {"from": "secret", "to": "public"}),
        ("search_in_code", {"query": "x", "path": "secret/deep"}),
        ("execute_command", {"command": "ls secret"}),
        ("execute_command", {"command": "ls", "cwd": "secret"}),
        ("execute_command", {"command": "cat key", "cwd": "secret"}),
        ("execute_command", {"command": "cat secret/key | sh"}),
    ],
)
def test_deny_beats_allow_and_mode_in_any_order(name: str, arguments: dict[str, Any], rules: list[Rule]) -> None:
    for mode in Mode:
        decision = judge(name, arguments, mode=mode, rules=rules)
        assert (decision.verdict, decision.rule) == (Verdict.DENY, "rule: deny * secret/**")
        assert "a rule of the user denies it" in decision.reason


@pytest.mark.parametrize(
    ("rules", "command", "more", "verdict"),
    [
        ([allow("execute_command", "npm test *")], "npm test --watch", {}, A),
        ([allow("execute_command", "npm test *")], "npm install x", {}, Q),
        ([allow("execute_command", "npm test *")], "npm test; rm x", {}, Q),
        ([allow("execute_command", "npm test *")], "npm test", {"shell": True}, Q),
        ([allow("execute_command", "npm test *")], "npm test", {"cwd": "web"}, Q),
        ([allow("execute_command", "npm test *", folder="web/**")], "npm test", {"cwd": "web/app"}, A),
        ([allow("execute_command", "make lint && make test")], "make lint && make test", {}, A),
        ([allow("execute_command", "make lint && make test")], "make lint && make test && rm x", {}, Q),
        ([allow("execute_command"), deny("execute_command", "git push *")], "git push --force", {}, Verdict.DENY),
        ([allow("execute_command"), deny("execute_command", "git push *")], "git pull", {}, A),
        ([deny("execute_command")], "ls", {}, Verdict.DENY),
    ],
)
def test_rules_for_commands(rules: list[Rule], command: str, more: dict[str, Any], verdict: Verdict) -> None:
    assert run(command, mode=Mode.ASK, rules=rules, **more).verdict is verdict


def test_control_can_be_denied_and_a_plan_can_be_allowed() -> None:
    assert judge("switch_mode", rules=[deny("switch_mode", "coder")]).verdict is Verdict.DENY
    assert judge("switch_mode", rules=[deny("switch_mode", "debug")]).verdict is Verdict.ALLOW
    assert judge("create_plan", rules=[allow("create_plan")]).verdict is Verdict.ALLOW


@pytest.mark.parametrize("bad", [{"effect": "maybe"}, {"tool": ""}, {"subject": "x" * 2000}, {"when": "now"}])
def test_a_rule_of_a_client_is_checked(bad: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate({"effect": "allow"} | bad)


# What a decision says


def test_a_decision_names_what_decided_and_says_why() -> None:
    for name in TOOLS:
        for mode in Mode:
            decision = judge(name, mode=mode)
            assert decision.rule
            assert decision.reason.endswith(".")
    assert judge("write_file").reason == "File modification requires user approval."
    assert run("ls | sh").reason == (
        "This command always requires user approval, because it has '|', which a shell may interpret."
    )
    assert run("pytest", rules=[allow("execute_command", "pytest *", agent="every*")]).rule == (
        "rule: allow execute_command pytest * for every*"
    )


def test_a_decision_has_the_arguments_that_are_to_be_shown_and_sent() -> None:
    assert judge("write_file", {"path": "./src//main.py", "content": "x"}).arguments == {}
    assert judge("write_file", {"path": "./src/main.py", "content": "x"}).arguments == {
        "path": "src/main.py",
        "content": "x",
    }


# A model that does whatever it is told by others


@given(
    st.sampled_from(sorted(TOOLS)),
    st.dictionaries(
        st.sampled_from(
            ["path", "content", "command", "mode", "policy", "from", "to", "message", "cwd", "approved", "diff"]
        ),
        st.one_of(
            st.sampled_from(["full", "ls", "ls; rm -rf .", "src/a", ".git/config", "coder", "*"]),
            st.booleans(),
            st.text(max_size=20),
        ),
        max_size=5,
    ),
)
def test_nothing_that_a_model_sends_runs_an_edit_or_a_command_without_approval(
    name: str, arguments: dict[str, Any]
) -> None:
    for role in (*ROLES.values(), EVERYTHING):
        decision = judge(name, arguments, role=role)
        if TOOLS[name].kind in (ToolKind.EDIT, ToolKind.COMMAND):
            assert decision.verdict is not Verdict.ALLOW


# Time

COMMANDS = {
    "short words": "a; " * 6_000,
    "other words": " ".join(f"w{i};" for i in range(3_300)),
    "one word": "a" * 20_000,
    "a path": "a/" * 9_999 + ";",
    "paths": " ".join(f"d{i}/x;" for i in range(2_400)),
    "quotes": '"' * 20_000,
    "parentheses": "(" * 20_000,
    "plain words": "git add " + "a/b " * 990,
    "other letters": "".join(chr(0x4E00 + i) for i in range(20_000)),
    "versions": "python3.1 " * 1_990 + ";",
}
PATTERNS = {
    "a program": "rm *",
    "many words": "a " * 499 + "b",
    "stars": "*a*a*a*b",
    "many stars": "*a*" * 300 + "b",
    "a long word": "a" * 999 + "b",
    "any words": "*a " + "* " * 490 + "b",
    "a folder": "secret/**",
    "folders": "**/" * 300 + "b",
    "any letters": "*" + "?" * 990 + "b",
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_judging_takes_a_tenth_of_a_second_at_most(command: str, pattern: str) -> None:
    rules = [deny("execute_command", pattern) for _ in range(500)]
    assert cpu_seconds(lambda: run(command[:20_000], rules=rules, mode=Mode.FULL)) < 0.1
    decision = run(command[:20_000], rules=rules, mode=Mode.FULL)
    assert decision.verdict is not Verdict.ALLOW or decision.rule == "mode: full"


def test_a_call_that_is_too_long_for_the_rules_asks_a_person() -> None:
    rules = [allow(), *(deny("execute_command", "*" + "a*" * 400 + "b") for _ in range(499))]
    decision = run("a" * 20_000, rules=rules, mode=Mode.FULL)
    assert (decision.verdict, decision.rule) == (Verdict.ASK, "too many rules")


@pytest.mark.parametrize("command", [*COMMANDS.values()], ids=COMMANDS)
def test_a_rule_finds_its_words_in_long_commands(command: str) -> None:
    rules = [deny("execute_command", "rm -rf *") for _ in range(500)]
    assert run(f"{command[:19_900]}; /bin/rm -rf x", rules=rules, mode=Mode.FULL).verdict is Verdict.DENY
