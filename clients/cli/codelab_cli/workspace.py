"""Facts about the workspace for `hello.workspace`: where the agent works, and what the project asks of agents.

Everything is bounded in size and time, and nothing here holds a secret: names of secret files are left out, too. The
instructions are the project's: AGENTS.md of the root and of the folders that are worked in, or CLAUDE.md where a folder
has none.
"""

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tzlocal import get_localzone_name

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import paths, secrets, shells, texts
from codelab_cli.tools.root import Links, Root
from codelab_cli.tools.walk import Walk

INSTRUCTION_NAMES = ("AGENTS.md", "CLAUDE.md")
MAX_INSTRUCTION_FILES = 8
#: Of all together, as many as a prompt takes.
MAX_INSTRUCTIONS_CHARACTERS = 20_000
MAX_TREE_ENTRIES = 200
MAX_TREE_DEPTH = 3
MAX_TREE_SECONDS = 2.0
MAX_STATUS_LINES, MAX_STATUS_CHARACTERS = 50, 4_000
GIT_SECONDS = 3.0

_GIT = ("git", "--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "color.ui=false")


def facts(root: Path, touched: Iterable[str] = ()) -> dict[str, Any]:
    """Return the facts about a workspace; `touched` are the paths that tools have named (`Toolbox.touched`).

    Reads files and runs git, so call it in a thread.
    """
    now = datetime.now().astimezone()
    workspace = Root(root)
    try:
        found: dict[str, Any] = {
            "name": workspace.path.name or "/",
            "system": _find_system(),
            "shell": Path(shells.find_shell()).name,
            "date": now.date().isoformat(),
            "time_zone": _find_time_zone(now),
            "tree": _list_top(workspace),
        }
        if git := _ask_git(workspace.path):
            found["git"] = git
        if instructions := _read_instructions(workspace, touched):
            found["instructions"] = instructions
        return found
    finally:
        workspace.close()


def _find_system() -> str:
    name = platform.system()
    if name == "Darwin":
        return f"macOS {platform.mac_ver()[0]} ({platform.machine()})"
    distribution = ""
    with suppress(OSError):
        distribution = f", {platform.freedesktop_os_release().get('PRETTY_NAME', '')}"
    return f"{name} {platform.release()} ({platform.machine()}){distribution}"


def _find_time_zone(now: datetime) -> str:
    with suppress(Exception):
        # It raises what it likes where the system's files contradict each other.
        if name := get_localzone_name():
            return name
    return now.strftime("UTC%z")


def _list_top(root: Root) -> list[str]:
    """Return what is in the root, then what is in its folders, as long as there is room."""
    levels: list[list[str]] = [[] for _ in range(MAX_TREE_DEPTH)]
    walk = Walk(root, include_hidden=False, max_depth=MAX_TREE_DEPTH, max_seconds=MAX_TREE_SECONDS)
    with suppress(ToolFailed):
        for entry in walk.go("."):
            if not secrets.is_secret(entry.path):
                level = levels[entry.path.count("/")]
                if len(level) <= MAX_TREE_ENTRIES:
                    level.append(f"{entry.path}/" if entry.is_folder else entry.path)
    shown = [path for level in levels for path in level][:MAX_TREE_ENTRIES]
    # In the order of a walk, which is easier to read than one level after the other.
    return [_clean(path) for path in sorted(shown)]


def _ask_git(root: Path) -> dict[str, str]:
    status = _git(root, "status", "--porcelain=v2", "--branch", "--no-renames", "-z", "--", ".")
    if status is None:
        return {}
    git: dict[str, str] = {}
    lines: list[str] = []
    for line in status.split("\0"):
        if line.startswith("# branch.head "):
            git["branch"] = line.removeprefix("# branch.head ")
        elif line.startswith("# branch.oid ") and not line.endswith("(initial)"):
            git["head"] = line.removeprefix("# branch.oid ")[:12]
        elif line and line[0] in "12u?":
            # Changed: kind, letters, submodule, modes, hashes, path; a conflict has two more fields.
            fields = line.split(" ", {"1": 8, "2": 9, "u": 10, "?": 1}[line[0]])
            letters = "??" if line[0] == "?" else fields[1].replace(".", " ")
            if not secrets.is_secret(fields[-1]):
                lines.append(f"{letters} {fields[-1]}")
    shown = lines[:MAX_STATUS_LINES]
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more")
    git["status"] = texts.cut("\n".join(shown), MAX_STATUS_CHARACTERS)
    return {name: _clean(value) for name, value in git.items()}


def _git(root: Path, *words: str) -> str | None:
    """Return what git prints, or None where it fails or takes too long."""
    variables = shells.environment(os.environ, str(root), allow_secrets=False)
    try:
        ended = subprocess.run(
            [*_GIT, *words], cwd=root, env=variables, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=GIT_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout[:1_000_000].decode(errors="replace")


def _read_instructions(root: Root, touched: Iterable[str]) -> list[dict[str, str]]:
    """Return the instructions of the root and of all folders on the way to what was touched, the root's first."""
    folders: dict[tuple[str, ...], None] = {(): None}
    for path in touched:
        with suppress(ToolFailed):
            names = paths.split(path)
            # The path itself may be a folder; a file has nothing in it.
            folders |= {names[:length]: None for length in range(1, len(names) + 1)}
    found: list[dict[str, str]] = []
    left = MAX_INSTRUCTIONS_CHARACTERS
    for folder in sorted(folders, key=len):
        if len(found) >= MAX_INSTRUCTION_FILES or left <= 0:
            break
        for name in INSTRUCTION_NAMES:
            path = paths.join([*folder, name])
            if text := _read_text(root, path):
                text = texts.cut(text, left)
                found.append({"path": path, "text": text})
                left -= len(text)
                break
    return found


def _read_text(root: Root, path: str) -> str:
    """Return the text of a file in the workspace; empty where it has none that may be sent."""
    with suppress(ToolFailed, OSError), root.place(path, Links.FOLLOW) as place:
        content = place.read(texts.MAX_FILE_BYTES)
        secrets.check(place.path, content)
        return _clean(texts.decode(content, path).text.strip())
    return ""


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")
