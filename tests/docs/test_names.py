"""Every name that the documentation has in code exists: files, modules, functions, settings, metrics, targets, routes.

Their form and the code (`tests.docs.names`) decide which words are names, and of what, so that a page may name fields,
statuses and tools without a list of them. Words of other programs are the exception, and listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.core.management import get_commands

from agents.protected import KINDS
from agents.roles import ROLES
from codelab.environment import PROJECT
from codelab_cli import slash
from llm import scripted
from tests.docs import names
from tests.docs.pages import FENCE, name_of

#: Decisions and the changelog tell of their day, and keep its names.
PAGES = sorted([*PROJECT.glob("README*.md"), PROJECT / "CONTRIBUTING.md", *PROJECT.glob("docs/*.md")])

#: Words of other programs, which our code does not have.
FOREIGN = {
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "Claude Code",
    "FLUSHALL": "Redis",
    "NO_COLOR": "most terminal programs",
    "PGSSLMODE": "libpq",
    "ResolutionImpossible": "pip",
    "kernel.yama.ptrace_scope": "Linux",
    "ptrace_scope": "Linux",
    "upstream": "nginx",
    "planner": "a branch of the original",
    "Infinity": "JavaScript",
    "backup_path": "the original's editor",
    "stream_options.include_usage": "OpenAI",
    "docker-compose.override.yml": "Docker Compose",
    "requirements.txt": "pip",
    "tsconfig.json": "TypeScript",
}
#: Files of users' workspaces. Another test compares the page with this table.
PROTECTED = frozenset(name for kind in KINDS for name in kind.names)

SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
TOP = r"(?:codelab|sessions|agents|llm|tests|bench|docs|scripts|requirements|\.vscode|\.ci|\.github)"
PATH = re.compile(rf"(?<![\w./-]){TOP}/[\w./*{{}}-]*")
#: A name with its package in front, such as in an import or a command.
MODULE = re.compile(
    r"(?<![\w./@-])(?:codelab|sessions|agents|llm|bench)(?:\.(?!__)[A-Za-z_]\w*)+(?![\w/-])(?!\.(?!\s|$))"
)
FILE = re.compile(r"[\w*./{}-]*\.(?:py|md|js|css|html|json|toml|txt|in|yml|sh|png|log)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
WORD = re.compile(r"_*[A-Za-z][A-Za-z0-9_]*")
CALL = re.compile(r"([A-Za-z_][\w.]*)\(.*\)", re.DOTALL)
#: How pages say where a function is: the file, then its name.
IN_FILE = re.compile(r"`([\w./]+\.py)`,\s+`(\w[\w.]*)`(?!,? and)")
ROUTE = re.compile(r"/[\w.-][\w./{}?=-]*")


class Problem(NamedTuple):
    """A name that does not exist."""

    line: int
    name: str
    kind: str


def problems(text: str) -> Iterator[Problem]:
    """Yield the names of a page that do not exist."""
    # Examples of what not to write.
    text = re.sub(r"^ *\* before:.*$", "", text, flags=re.MULTILINE)
    fences = [(match.start(), match[0]) for match in FENCE.finditer(text)]
    prose = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    spans = [(match.start(), match[2]) for match in SPAN.finditer(prose)]
    shown = [code for _, code in (*fences, *spans)]
    # Settings and metrics have names of their own form, so they are looked for in all of the text.
    for pattern, known, kind in (
        (r"\bCODELAB_\w+", names.settings(), "setting"),
        (r"\b(?!django_)[a-z]\w*_total\b", names.metrics(), "metric"),
        (r"\bagent_sessions_\w+", names.tables(), "table"),
    ):
        for match in re.finditer(pattern, text):
            if match[0] not in known and match[0].rstrip("_") != "CODELAB":
                yield Problem(_line(text, match.start()), match[0], kind)
    for start, code in (*fences, *spans):
        for offset, name, kind in _in_code(code):
            yield Problem(_line(text, start + offset), name, kind)
    for match in IN_FILE.finditer(prose):
        if names.has_file(match[1]) and not FILE.fullmatch(match[2]) and not names.has_in_file(match[1], match[2]):
            yield Problem(_line(text, match.start(2)), match[2], f"name in {match[1]}")
    for start, code in spans:
        if kind := _wrong(code, shown):
            yield Problem(_line(text, start), code, kind)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _in_code(code: str) -> Iterator[tuple[int, str, str]]:
    """Yield the targets, commands and paths in a piece of code that do not exist, with their places."""
    for match in re.finditer(r"(?:^|[\n;&|`] *)make ((?:[A-Z]+=\S* )*)([a-z][a-z-]*)", code):
        if match[2] not in names.make_targets():
            yield match.start(2), f"make {match[2]}", "target of the Makefile"
    for match in re.finditer(r"manage\.py (?!shell)(\w+)", code):
        if match[1] not in get_commands():
            yield match.start(1), f"manage.py {match[1]}", "command of Django"
    for match in re.finditer(r"-m ((?:codelab|bench|tests)[\w.]*)", code):
        if not names.has_dotted(match[1]) and not names.has_file(match[1].replace(".", "/")):
            yield match.start(1), match[1], "module"
    for match in MODULE.finditer(code):
        if not FILE.fullmatch(match[0]) and not names.has_dotted(match[0]):
            yield match.start(), match[0], "module"
    for match in PATH.finditer(code):
        is_model = match[0].startswith("codelab/") and match[0].partition("/")[2] in ROLES
        if not is_model and not names.has_file(match[0].rstrip(".")):
            yield match.start(), match[0], "path"


def _wrong(code: str, shown: list[str]) -> str:
    """Return what kind of name a span is, when it is one and does not exist; else an empty text."""
    if code in FOREIGN or code in PROTECTED or PATH.fullmatch(code) or code.startswith("agent_sessions_"):
        return ""
    if re.fullmatch(r"tests/\S+\.py::(test_\w+)", code):
        return "" if names.has_function(code.rpartition("::")[2]) else "test"
    if code.startswith("test_") and WORD.fullmatch(code):
        return "" if names.has_function(code) else "test"
    if ROUTE.fullmatch(code):
        # Commands of the scripted model and the terminal client and folders of containers begin like routes.
        is_other = code[1:] in scripted.COMMANDS or code in slash.COMMANDS or code in ("/tmp", "/data", "/metrics")
        return "" if is_other or names.has_route(code) else "route"
    if FILE.fullmatch(code):
        # A bare name may be a file of the reader, which the page's own examples use.
        is_example = "/" not in code and any(code in other and code != other for other in shown)
        return "" if names.has_file(code) or is_example else "file"
    if match := CALL.fullmatch(code):
        return "" if names.has_function(match[1]) else "function"
    if DOTTED.fullmatch(code):
        return "" if names.has_dotted(code) else "dotted name"
    if WORD.fullmatch(code):
        return "" if names.has_word(code) else "word"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_exists(page: Path) -> None:
    found = {(it.line, it.name): it.kind for it in problems(page.read_text(encoding="utf-8"))}
    wrong = [f"{name_of(page)}:{line}: {name} ({kind})" for (line, name), kind in found.items()]
    assert not wrong, "these do not exist:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("`sessions/foo.py`", "sessions/foo.py"),
        ("`sessions/turns/`, `sessions/rest/`", "sessions/rest/"),
        ("see `foo.py`", "foo.py"),
        ("```sh\npytest tests/sessions/test_foo.py\n```", "tests/sessions/test_foo.py"),
        ("`attempts.foo`", "attempts.foo"),
        ("`sessions.turns.attempts.foo`", "sessions.turns.attempts.foo"),
        ("`sessions.foo`", "sessions.foo"),
        ("`lifecycle.claim`", "lifecycle.claim"),
        ("`sessions/turns/attempts.py`, `accept_message`", "accept_message"),
        ("`attempts.py`, `claim.foo`", "claim.foo"),
        ("`Feed.foo`", "Feed.foo"),
        ("`feed.Feed.foo`", "feed.Feed.foo"),
        ("`Session.hidden_column`", "Session.hidden_column"),
        ("`claim_foo()`", "claim_foo()"),
        ("`attempts.foo(turn)`", "attempts.foo(turn)"),
        ("`FooBar`", "FooBar"),
        ("`outtake`", "outtake"),
        ("`FOO_SECONDS`", "FOO_SECONDS"),
        ("`test_foo_is_bar`", "test_foo_is_bar"),
        ("`tests/docs/test_names.py::test_foo`", "tests/docs/test_names.py::test_foo"),
        ("`CODELAB_FOO`", "CODELAB_FOO"),
        ("plain CODELAB_FOO=1", "CODELAB_FOO"),
        ("```sh\nexport CODELAB_FOO=1\n```", "CODELAB_FOO"),
        ("`codelab_foo_total`", "codelab_foo_total"),
        ("```\nrate(codelab_foo_total[5m])\n```", "codelab_foo_total"),
        ("`foo_seconds`", "foo_seconds"),
        ("`agent_sessions_foo`", "agent_sessions_foo"),
        ("```python\nfrom sessions.foo import claim\n```", "sessions.foo"),
        ("```sh\ncelery -A codelab.foo worker\n```", "codelab.foo"),
        ("`make foo`", "make foo"),
        ("```sh\nmake venv && make foo\n```", "make foo"),
        ("`python manage.py foo`", "manage.py foo"),
        ("`python -m codelab.foo`", "codelab.foo"),
        ("`/api/v1/foo`", "/api/v1/foo"),
        ("`/foo`", "/foo"),
    ],
)
def test_a_wrong_name_is_found_with_its_line(text: str, name: str) -> None:
    (found,) = {(problem.line, problem.name) for problem in problems(f"# Title\n\nwords\n{text}\n")}
    assert found == (4 + text.startswith("```"), name)


@pytest.mark.parametrize(
    "text",
    [
        "`sessions/turns/attempts.py`, `attempts.py`, `sessions/turns/`, `docs/protocol/*.json`, `.env`",
        "`sessions/turns/attempts.py`, `claim`, and `sessions/worker/writer.py`, `Writer.write`",
        "`attempts.claim`, `sessions.turns.attempts.claim`, `feed.Feed`, `Feed`, `attempts`",
        "`CODELAB_MODEL`, `CODELAB_SECRET_KEY_FILE`, `frames_refused_total`, `make run`, `make run PORT=8001`",
        "`turn_completed`, `queued`, `client_message_id`, `codelab.v2`, `agent_sessions_turn`, `/say`, `/health`",
        "`ValueError`, `settings.py`; `asyncio.timeout`, `/api/v1/sessions/{session_id}/history`, `hello.py`\n"
        "```\ncat hello.py\n```",
    ],
)
def test_names_that_exist_are_no_problem(text: str) -> None:
    assert list(problems(text)) == []


def test_words_of_other_programs_are_in_use_and_not_ours() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [word for word in FOREIGN if f"`{word}`" not in text and f"{word}" not in text] == []
