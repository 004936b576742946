"""Files that tools run or trust: which they are, for file tools and for commands, in every spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.commands import Risk, parse
from agents.policy import Mode, Verdict
from agents.protected import KINDS, kind_of
from tests.agents.test_policy import EDIT, allow, judge, run

# fmt: off
PROTECTED = [
    ".git/config", ".GIT/hooks/pre-commit", "sub/.git", ".gitmodules", ".husky/pre-push", "lefthook.yml", "x/HEAD",
    ".lintstagedrc", ".lintstagedrc.json", ".pre-commit-config.yaml", "git.exe", "ls.bat", "sub/pwd.cmd", "Git.Cmd",
    "ls", ".cursor/mcp.json", ".CURSOR/mcp.json", ".cursor/rules/x.mdc", ".cursorrules", ".claude/settings.json",
    ".claude/settings.local.json", "CLAUDE.md", "CLAUDE.local.md", "docs/AGENTS.md", "GEMINI.md",
    ".gemini/settings.json", ".codex/config.toml", ".roo/mcp.json", ".kiro/settings/mcp.json",
    ".windsurf/mcp_config.json", ".continue/config.yaml", "opencode.json", ".opencode/plugin/x.js", ".aider.conf.yml",
    ".mcp.json", ".github/copilot-instructions.md", "python.instructions.md", ".vscode/tasks.json", ".idea/x.xml",
    "x.code-workspace", ".exrc", ".nvim.lua", ".devcontainer/devcontainer.json", ".github/workflows/ci.yml",
    ".gitlab-ci.yml", "Jenkinsfile", "azure-pipelines.yml", ".circleci/config.yml", ".envrc", ".tool-versions",
    "mise.toml", ".npmrc", ".yarnrc.yml", ".pnp.cjs", "sitecustomize.py", ".bashrc", "conftest.py",
    "tests/conftest.py", "pytest.ini", "tox.ini", "noxfile.py", "setup.cfg", "pyproject.toml", "eslint.config.js",
    ".eslintrc.json", "babel.config.json", "vite.config.ts", "jest.config.mjs", ".mocharc.yml", "package.json",
    "web/package.json", "Makefile", "makefile", "rules.mk", "CMakeLists.txt", "build.rs", "build.gradle",
    "build.gradle.kts", "settings.gradle", "gradlew", "pom.xml", "Cargo.toml", "Gemfile", "Rakefile", "setup.py",
    "composer.json", "docker-compose.yml", "docker-compose.override.yaml", "compose.yaml", "Vagrantfile", "x.csproj",
    "node_modules/.bin/eslint", ".venv/bin/pytest", ".storybook/main.js", "deps.gradle", "buildSrc/src/x.kt",
    "turbo.json", "defs.bzl", ".swiftpm/x", "Snakefile", "Directory.Build.props", ".openhands/setup.sh",
    "replit.md", "Pipfile",
]
ORDINARY = [
    ".", "src/main.py", ".gitignore", "gitlab.md", "header.py", "docs/lsp.md", "a/b", "src/ok.txt", "README.md",
    "git.md", "src/git/x.py", "config.js", "src/config.ts", "test_a.py", "Dockerfile", "tsconfig.json", ".env",
    ".env.example", "requirements.txt", "go.mod", "docs/agents.md.txt", "build/x", "vite.svg", "heads/x",
    "package.py", ".editorconfig", "prompt.md", "src/make.py",
]
# fmt: on
WRITES: list[tuple[str, dict[str, Any]]] = [
    ("write_file", {"path": "PATH", "content": "{}"}),
    ("apply_diff", {"path": "PATH", "diff": "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE"}),
    ("create_directory", {"path": "PATH"}),
    ("delete_file", {"path": "PATH"}),
    ("move_file", {"from": "PATH", "to": "elsewhere"}),
    ("move_file", {"from": "elsewhere", "to": "PATH"}),
]


@pytest.mark.parametrize("path", PROTECTED)
def test_a_change_of_what_tools_run_or_trust_asks_in_every_mode(path: str) -> None:
    for tool, arguments in WRITES:
        given_path = {name: path if value == "PATH" else value for name, value in arguments.items()}
        for mode in (Mode.AUTO_EDIT, Mode.FULL):
            decision = judge(tool, given_path, mode=mode, rules=[allow(), allow(tool, "**"), allow(tool, "*")])
            assert (decision.verdict, decision.rule) == (Verdict.ASK, "protected path")
            kind = kind_of(path)
            assert kind
            assert kind.reason in decision.reason


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_files_are_not_protected(path: str) -> None:
    assert kind_of(path) is None


def test_a_rule_that_names_a_protected_file_allows_it() -> None:
    rules = [allow("write_file", "package.json")]
    assert judge("write_file", EDIT | {"path": "package.json"}, rules=rules).verdict is Verdict.ALLOW
    assert judge("write_file", EDIT | {"path": "conftest.py"}, rules=rules).verdict is Verdict.ASK


@pytest.mark.parametrize("path", PROTECTED)
def test_a_command_that_may_change_a_protected_file_asks(path: str) -> None:
    for command in (f"cp x {path}", f"mv {path} x", f"git mv x {path}", f"touch ./{path}", f"ln -s {path} y"):
        for mode in Mode:
            decision = run(command, mode=mode, rules=[allow(), allow("execute_command", f"{command.split()[0]} *")])
            assert decision.verdict is Verdict.ASK, command


@pytest.mark.parametrize("path", PROTECTED)
def test_a_command_that_reads_a_protected_file_runs(path: str) -> None:
    for command in (f"cat {path}", f"git diff {path}", f"git add {path}", f"grep -n x {path}", f"ls {path}"):
        assert run(command, mode=Mode.FULL).verdict is Verdict.ALLOW, command


@pytest.mark.parametrize(
    ("command", "folder"), [("cp x pre-commit", ".git/hooks"), ("mv a b", "sub/.vscode"), ("touch x", ".GitHub")]
)
def test_a_command_in_a_protected_folder_asks(command: str, folder: str) -> None:
    assert run(command, cwd=folder, mode=Mode.FULL).verdict is Verdict.ASK
    assert run("cat x", cwd=folder, mode=Mode.FULL).verdict is Verdict.ALLOW


@pytest.mark.parametrize("command", ["rm -rf node_modules", "python -m venv .venv", "pytest --ignore node_modules"])
def test_folders_of_installed_programs_are_made_and_removed_as_a_whole(command: str) -> None:
    assert run(command, mode=Mode.FULL).verdict is Verdict.ALLOW
    assert run(f"cp x {command.rsplit(maxsplit=1)[-1]}/bin/y", mode=Mode.FULL).verdict is Verdict.ASK


NAMES = sorted({name.replace("*", "x") for kind in KINDS[:-1] for name in kind.names} - {"git", "ls", "pwd", "head"})
PROGRAMS = [
    "cp x",
    "mv x",
    "rm -rf",
    "ln -s x",
    "touch",
    "mkdir -p",
    "git mv x",
    "git checkout --",
    "git restore",
    "foo",
]
SPELLINGS = ["{}", "./{}", "sub/{}", "./a/./{}", '"{}"', "'{}'", "--out={}", "-o{}", "-qo{}", "-o={}", "a,{}", "a:{}"]


@given(
    name=st.sampled_from(NAMES),
    program=st.sampled_from(PROGRAMS),
    spelling=st.sampled_from(SPELLINGS),
    is_upper=st.booleans(),
    below=st.sampled_from(["", "x", "x/y.z"]),
    others=st.lists(st.sampled_from(["-f", "a", "src/b.py", "--force", "-v"]), max_size=3),
)
def test_no_disguise_of_a_protected_name_runs_unasked(
    *, name: str, program: str, spelling: str, is_upper: bool, below: str, others: list[str]
) -> None:
    path = name + below if name.endswith("/") else name
    path = path.upper() if is_upper else path
    text = " ".join([program, *others, spelling.format(path)])
    command = parse(text)
    assert command.risk is Risk.OPAQUE, text
    rules = [allow(), allow("execute_command", f"{program} *"), allow("execute_command", f"{text.split()[0]} *")]
    for mode in Mode:
        assert run(text, mode=mode, rules=rules).verdict is Verdict.ASK
