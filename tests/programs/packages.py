"""Installs packages of PyPI and npm in folders of their own, never into the project's environment."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codelab.environment import PROJECT

UV = PROJECT / ".venv" / "bin" / "uv"
#: Most of them download 20 to 200 MB.
INSTALL_SECONDS = 600.0
#: To ask an index for a small package.
INDEX_SECONDS = 60.0
#: What the JavaScript programs need.
NODE_VERSION = 20


class PackagesUnavailable(Exception):
    """The packages cannot be installed on this machine; the message is the reason."""


def install_from_pypi(folder: Path, packages: Sequence[str], *, dependencies: bool = True) -> Path:
    """Install packages in an environment of their own; return its folder of programs. Raises PackagesUnavailable."""
    _require_pypi()
    environment = folder / "python"
    python = environment / "bin" / "python"
    _run([UV, "venv", "--quiet", "--python", sys.executable, environment], folder)
    options = () if dependencies else ("--no-deps",)
    _run([UV, "pip", "install", "--quiet", "--python", python, *options, *packages], folder)
    return environment / "bin"


def install_from_npm(folder: Path, packages: Sequence[str]) -> Path:
    """Install packages with npm; return their folder of programs. Raises PackagesUnavailable."""
    _require_npm()
    (folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    _run(["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], folder)
    return folder / "node_modules" / ".bin"


@functools.cache
def _require_pypi() -> None:
    if not UV.exists():
        raise PackagesUnavailable("`make venv` has not installed uv")
    command: list[str | Path] = [UV, "pip", "install", "--dry-run", "--python", sys.executable, "--reinstall", "six"]
    _require_index(command, "the index of Python packages cannot be reached")


@functools.cache
def _require_npm() -> None:
    if not shutil.which("npm"):
        raise PackagesUnavailable("Node.js with npm is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = re.match(r"v(\d+)", version)
    if not found or int(found[1]) < NODE_VERSION:
        raise PackagesUnavailable(f"Node.js {NODE_VERSION} or newer is needed, not {version}")
    _require_index(["npm", "view", "is-number", "version"], "the registry of npm cannot be reached")


def _require_index(command: Sequence[str | Path], problem: str) -> None:
    try:
        subprocess.run(command, cwd="/", capture_output=True, timeout=INDEX_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise PackagesUnavailable(problem) from error


def _run(command: Sequence[str | Path], folder: Path) -> None:
    """Run a command that installs something. Raises AssertionError with what it printed: the index can be reached."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {(done.stderr or done.stdout)[-2000:]}"
