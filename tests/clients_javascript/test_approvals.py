"""What the page shows of calls that wait for approval: its pure modules, in Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from codelab.environment import PROJECT


def test_differences_and_hidden_characters(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("The modules behind approvals were NOT tested: node is not on PATH.")
    # Older versions of Node need to be told that these are modules.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copytree(PROJECT / "sessions/static/sessions/approvals", tmp_path / "approvals")
    shutil.copy(PROJECT / "sessions/static/sessions/sameitems.js", tmp_path)
    shutil.copy(Path(__file__).with_name("approvals.test.mjs"), tmp_path)
    command = [node, "--test", "approvals.test.mjs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
