"""The client of docs/client.md, run as a stranger would: copied from the page into a folder, and started."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

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
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "All done." in done.stdout
    assert "File modification requires user approval." in done.stdout
    assert (tmp_path / "hello.py").read_text() == 'print("Hello")\nprint("Bye")\n'
    assert (tmp_path / "new/b.txt").read_text() == "new\n"
    told = [row[0] for row in service.rows("SELECT content FROM agent_sessions_message WHERE role = 'tool'")]
    assert any("Not that." in text for text in told)
    assert any("SEARCH was found 0 times" in text for text in told)
