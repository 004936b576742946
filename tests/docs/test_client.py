"""The client of docs/client.md, run as a stranger would: copied from the page into a folder, and started."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import read
from tests.live.service import Service

PAGE = "docs/client.md"
DIFF = '<<<<<<< SEARCH\nprint("Hi")\n=======\nprint("Hello")\n>>>>>>> REPLACE'


def program() -> str:
    found = re.search(r"<!-- client.py -->\n```python\n(.*?)```", read(PAGE), re.DOTALL)
    assert found
    return found[1]


def test_it_has_fifty_lines() -> None:
    assert len([line for line in program().splitlines() if line]) <= 50


@pytest.fixture
def apply_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return the function of the page, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program().partition("asyncio.run(main())")[0], names)
    function: Callable[..., Any] = names["apply_diff"]
    return function


def block(search: str, replacement: str) -> str:
    return f"<<<<<<< SEARCH\n{search}=======\n{replacement}>>>>>>> REPLACE\n"


@pytest.mark.parametrize(
    ("before", "diff", "after"),
    [
        ("a\nb\nc\n", block("a\nb\n", "x\n") + block("c\n", "y\nz\n"), "x\ny\nz\n"),
        ("a\r\nb\r\n", block("b\n", "c\nd\n"), "a\r\nc\r\nd\r\n"),
        ("a\nb\n", block("b\n", "c\n").replace("\n", "\r\n"), "a\nc\n"),
        ("a\nlast", block("last\n", "end\n"), "a\nend"),
        ("a\nlast", block("last\n", ""), "a"),
        ("a = 1\nmax_a = 1\n", block("a = 1\n", "a = 2\n"), "a = 2\nmax_a = 1\n"),
        ("a\n\nb\n", block("\n", "# x\n"), "a\n# x\nb\n"),
        ("a\n\\1\n", block("\\1\n", "\\g<0>\n"), "a\n\\g<0>\n"),
    ],
)
def test_its_edits_are_exact(
    apply_diff: Callable[..., Any], tmp_path: Path, before: str, diff: str, after: str
) -> None:
    (tmp_path / "a.txt").write_bytes(before.encode())
    apply_diff("a.txt", diff)
    assert (tmp_path / "a.txt").read_bytes().decode() == after


@pytest.mark.parametrize(
    ("before", "search"), [("a\na\n", "a\n"), ("max_a\n", "a\n"), ("a\n", ""), ("", ""), ("a\n", "b\n")]
)
def test_its_edits_match_one_place_or_nothing_is_written(
    apply_diff: Callable[..., Any], tmp_path: Path, before: str, search: str
) -> None:
    (tmp_path / "a.txt").write_bytes(before.encode())
    with pytest.raises(ValueError, match="SEARCH was found"):
        apply_diff("a.txt", block(search, "x\n"))
    assert (tmp_path / "a.txt").read_bytes().decode() == before


@pytest.mark.live
def test_it_edits_files_at_the_first_run(service: Service, tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(program().replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"))
    (tmp_path / "hello.py").write_text('print("Hi")\nprint("Bye")\n')

    def call(name: str, **arguments: object) -> str:
        return f"/call {name} {json.dumps(arguments)}"

    typed = [
        call("read_file", path="hello.py"),
        call("apply_diff", path="hello.py", diff=DIFF),
        "y",
        call("write_file", path="new/b.txt", content="new\n", create_dirs=True),
        "y",
        call("apply_diff", path="hello.py", diff=DIFF),
        "y",
        call("write_file", path="hello.py", content=""),
        "Not that.",
        call("delete_file", path="hello.py"),
        "/fail refused",
        "/say All done.",
        "",
    ]
    done = subprocess.run(
        [sys.executable, "client.py"],
        input="\n".join(typed) + "\n",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "All done." in done.stdout
    assert "File modification requires user approval." in done.stdout
    assert (tmp_path / "hello.py").read_text() == 'print("Hello")\nprint("Bye")\n'
    assert (tmp_path / "new/b.txt").read_text() == "new\n"
    told = [row[0] for row in service.rows("SELECT content FROM agent_sessions_message WHERE role = 'tool'")]
    assert any("Not that." in text for text in told)
    assert any("SEARCH was found 0 times" in text for text in told)
