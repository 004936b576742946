"""Node, for the tests of JavaScript."""

from __future__ import annotations

import shutil
import subprocess

import pytest


@pytest.fixture(scope="session")
def node() -> str:
    program = shutil.which("node")
    if program is None:
        pytest.skip("JavaScript was NOT tested in Node: node is not on PATH.")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < 20:
        pytest.skip(f"JavaScript was NOT tested in Node: {version.strip()} is older than 20.")
    return program
