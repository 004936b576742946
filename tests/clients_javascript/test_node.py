"""The JavaScript client in Node, against a real service: its own tests, and the example of its README."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from codelab.environment import PROJECT
from tests.live.service import Service

pytestmark = pytest.mark.live

PACKAGE = PROJECT / "clients/javascript"


def run(
    node: str, arguments: list[str], service: Service, *, folder: Path = PACKAGE, given: str = ""
) -> subprocess.CompletedProcess[str]:
    # Node 20 has a WebSocket only with this option; later versions accept it.
    command = [node, "--experimental-websocket", *arguments]
    environment = {**os.environ, "CODELAB_URL": service.url, "CODELAB_LOGIN": f"bob:{service.demo_password}"}
    return subprocess.run(
        command, cwd=folder, env=environment, input=given, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_client_works_in_node(node: str, service: Service) -> None:
    done = run(node, ["--test", "--test-reporter=spec", "test/"], service)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped 0" in done.stdout


def test_the_example_of_the_readme_works(node: str, service: Service, tmp_path: Path) -> None:
    text = (PACKAGE / "README.md").read_text()
    (example,) = re.findall(r"<!-- example -->\n```js\n(.*?)```", text, re.DOTALL)
    assert len(example.splitlines()) <= 30
    (tmp_path / "example.mjs").write_text(example)
    (tmp_path / "node_modules/@codelab").mkdir(parents=True)
    (tmp_path / "node_modules/@codelab/client").symlink_to(PACKAGE)
    (tmp_path / "README.md").write_text("# Hi\n")
    task = '/call read_file {"path": "README.md"}\n/call write_file {"path": "b.txt", "content": "x"}\n/say Done.'
    done = run(node, ["example.mjs", service.url, task], service, folder=tmp_path, given="y\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("Done.")
    assert (tmp_path / "b.txt").read_text() == "x"
