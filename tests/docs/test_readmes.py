"""The two READMEs: their snippets run, and both say the same: sections, figures, commands, names and links."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from codelab.environment import PROJECT
from tests.docs.pages import read
from tests.live.service import Service

BOTH = ("README.md", "README.ru.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Numbers that are words in one of the languages.
NUMERALS = {**dict.fromkeys(("four", "четыре", "четырёх"), "4"), **dict.fromkeys(("two", "двух"), "2")}


class Section(NamedTuple):
    """What must be the same in both languages."""

    level: int
    figures: list[str]
    code: list[str]
    links: list[str]
    blocks: list[str]
    rows: int
    items: int


def sections(text: str) -> list[Section]:
    """Take a page apart at its headings."""
    # In a block a sharp is a comment.
    hidden = BLOCK.sub(lambda match: match[0].replace("\n#", "\n\0"), text)
    parts = re.split(r"^(#+) (.*)$", hidden, flags=re.MULTILINE)[1:]
    return [_section(len(parts[at]), parts[at + 2].replace("\0", "#")) for at in range(0, len(parts), 3)]


def _section(level: int, text: str) -> Section:
    blocks = [_without_language(kind, body) for kind, body in BLOCK.findall(text)]
    prose = BLOCK.sub("", text)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", prose) if not link.startswith("README")]
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)", " ", prose)
    figures = [NUMERALS.get(word, word) for word in re.findall(r"\d+(?:[.,]\d+)*|\w+", plain.lower())]
    return Section(
        level=level,
        # In another order where the sentence has another one.
        figures=sorted(word for word in figures if word[0].isdigit()),
        code=sorted(re.findall(r"`([^`]+)`", prose)),
        links=sorted(links),
        blocks=blocks,
        rows=len(re.findall(r"^\|", prose, re.MULTILINE)),
        items=len(re.findall(r"^\* ", prose, re.MULTILINE)),
    )


def _without_language(kind: str, body: str) -> str:
    """Return a block without what is for people to read: comments, labels, and what they say."""
    if kind == "mermaid":
        body = re.sub(r'-- (?:"(\d?)[^"]*"|[^">-]+) -->', r"-- \1 -->", body)
        return f"{kind} " + re.sub(r"\[[^\]]*\]", "[]", body)
    return f"{kind} " + re.sub(r" *# .*$|[А-яЁё]+|\bHi\b", "", body, flags=re.MULTILINE)


def test_both_readmes_say_the_same() -> None:
    english, russian = (sections(read(page)) for page in BOTH)
    for number, (one, other) in enumerate(zip(english, russian, strict=True)):
        assert one == other, f"section {number}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## Чего пока нет", "### Чего пока нет"),
        ("## Чего пока нет\n", ""),
        ("20 мс", "25 мс"),
        ("15.7", "11.1"),
        ("четырёх специализированных", "пяти специализированных"),
        ("make coverage ", "make cover "),
        ("CODELAB_MODEL=openai/qwen3", "CODELAB_MODEL=qwen3"),
        ("`CODELAB_DATA_DIR` |", "`CODELAB_DATA` |"),
        ("(docs/deployment.md)", "(docs/development.md)"),
        ("* Отмены: восстановления файлов, ответвления сессии.\n", ""),
        ("| `docs/` | документация |\n", ""),
        ("-- запрос --> model", "--> model"),
        ('"wait": true', '"wait": false'),
    ],
)
def test_a_readme_that_differs_is_found(old: str, new: str) -> None:
    russian = read("README.ru.md")
    assert old in russian
    assert sections(russian.replace(old, new)) != sections(read("README.md"))


# Snippets


def blocks(page: str, kind: str) -> list[str]:
    return [body for found, body in BLOCK.findall(read(page)) if found == kind]


def commands(page: str) -> Iterator[list[str]]:
    """Yield the commands of a README as words."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", "").splitlines():
            words = shlex.split(line, comments=True)
            while "&&" in words:
                yield words[: words.index("&&")]
                words = words[words.index("&&") + 1 :]
            yield words


@pytest.mark.parametrize("page", BOTH)
def test_targets_of_make_run_with_these_variables(page: str) -> None:
    makefile = read("Makefile")
    shown = [words for words in commands(page) if words[0] == "make"]
    assert len(shown) >= 7
    for words in shown:
        done = subprocess.run(
            ["make", "--dry-run", "--always-make", *words[1:]], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        for variable in re.findall(r"^([A-Z_]+)=", "\n".join(words), re.MULTILINE):
            known = variable in makefile or f"{variable}=" in read(".env.example") or variable == "OPENAI_API_BASE"
            assert known, f"{words}: nothing reads {variable}"


@pytest.mark.parametrize("page", BOTH)
def test_every_other_command_is_looked_at(page: str) -> None:
    others = [words for words in commands(page) if words[0] not in ("make", "curl")]
    assert [words[0] for words in others] == ["export", "cp", "chmod", "docker", "docker"]
    assert (PROJECT / others[1][1]).is_file()
    services = re.findall(r"^  ([\w-]+):$", read("docker-compose.yml"), re.MULTILINE)
    assert others[4][:4] == ["docker", "compose", "run", "--rm"]
    assert others[4][4] in services
    empty = re.findall(r"^([A-Z_]+)=$", read(".env.example"), re.MULTILINE)
    assert [name.rpartition("_")[2] for name in empty[:4]] == ["KEY", "PASSWORD", "PASSWORD", "PASSWORD"]


@pytest.mark.live
@pytest.mark.parametrize("page", BOTH)
def test_the_program_prints_the_answer(page: str, service: Service, tmp_path: Path) -> None:
    (program,) = blocks(page, "python")
    (tmp_path / "talk.py").write_text(program.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "talk.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer = service.rows(
        "SELECT m.content FROM agent_sessions_message m JOIN agent_sessions_session s ON s.id = m.session_id "
        "WHERE s.key = 'terminal' AND m.role = 'assistant' ORDER BY m.id DESC LIMIT 1"
    )
    assert done.stdout == answer[0][0]
    assert done.stdout


def shape(value: Any) -> Any:
    """Return what is in an answer without ids, which are new each time."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return "id" if isinstance(value, str) and re.fullmatch(r"[0-9a-f-]{36}", value) else value


@pytest.mark.live
@pytest.mark.parametrize("page", BOTH)
def test_requests_with_curl_get_the_answers_that_stand_below_them(page: str, service: Service) -> None:
    requests = [words for words in commands(page) if words[0] == "curl"]
    answers = [json.loads(body) for body in blocks(page, "json")]
    assert len(requests) == len(answers) == 2
    for words, answer in zip(requests, answers, strict=True):
        local = [word.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}") for word in words]
        done = subprocess.run([*local, "--silent", "--noproxy", "*"], capture_output=True, text=True, check=True)
        assert shape(json.loads(done.stdout)) == shape(answer), words


@pytest.mark.parametrize("page", BOTH)
def test_what_make_run_prints_is_what_the_page_shows(page: str) -> None:
    (shown,) = [body for body in blocks(page, "") if "is running" in body]
    source = ast.parse(read("codelab/local/startup.py"))
    texts = [node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    printed = "\n".join(texts)
    for line in shown.splitlines():
        # The words at the beginning of a line; the rest are addresses and passwords.
        if label := re.match(r" {2}([A-Z][\w ,]*?)(?= {2}|$)", line):
            assert label[1] in printed, line
    for sentence in ("The passwords are shown only this once", "Ctrl-C stops everything.", "or POST /oauth/token with"):
        assert sentence in printed
        assert sentence in shown
