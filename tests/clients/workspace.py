"""A client that really runs the tools, in its own folder, with the results that the original's editor sends.

It trusts the server only as far as an editor should: nothing outside the folder, and a shell only on request.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

type Result = dict[str, Any]

BLOCK = re.compile(r"<<<<<<< SEARCH\n(.*?)\n?=======\n(.*?)\n?>>>>>>> REPLACE", re.DOTALL)


class ToolFailed(Exception):
    """The tool failed; the text is for the model."""


class Workspace:
    """A folder and the tools that work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        #: The calls that ran, in order: id and tool.
        self.ran: list[tuple[str, str]] = []
        self.tools: dict[str, Callable[..., Result]] = {
            "read_file": self._read_file,
            "write_file": self._write_file,
            "list_files": self._list_files,
            "search_in_code": self._search_in_code,
            "create_directory": self._create_directory,
            "execute_command": self._execute_command,
            "delete_file": self._delete_file,
            "move_file": self._move_file,
            "apply_diff": self._apply_diff,
            "git_diff": self._git_diff,
            "git_commit": self._git_commit,
        }

    def run(self, call_id: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run a call and return the `tool_result` frame for it."""
        self.ran.append((call_id, tool))
        answer: dict[str, Any] = {"type": "tool_result", "call_id": call_id}
        # `from` is a keyword of Python.
        names = {"from_" if name == "from" else name: value for name, value in arguments.items()}
        try:
            return answer | {"result": self.tools[tool](**names)}
        except (ToolFailed, OSError, subprocess.SubprocessError) as error:
            return answer | {"error": str(error)}

    def _path(self, path: str) -> Path:
        place = (self.folder / path).resolve()
        if not place.is_relative_to(self.folder):
            raise ToolFailed(f"{path} is outside the workspace")
        return place

    def _read_file(self, path: str, start_line: int = 1, end_line: int | None = None, **_: Any) -> Result:
        lines = self._path(path).read_text(encoding="utf-8").splitlines(keepends=True)[start_line - 1 : end_line]
        return {"success": True, "content": "".join(lines), "lines_read": len(lines)}

    def _write_file(self, path: str, content: str, create_dirs: bool = True, **_: Any) -> Result:
        place = self._path(path)
        if create_dirs:
            place.parent.mkdir(parents=True, exist_ok=True)
        return {"success": True, "bytes_written": place.write_bytes(content.encode())}

    def _list_files(self, path: str, recursive: bool = False, pattern: str | None = None, **_: Any) -> Result:
        place = self._path(path)
        found = [each for each in (place.rglob("*") if recursive else place.iterdir()) if ".git" not in each.parts]
        items = [
            {
                "name": each.name,
                "path": str(each.relative_to(self.folder)),
                "type": "directory" if each.is_dir() else "file",
                "size": each.stat().st_size,
                "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.stat().st_mtime)),
            }
            for each in sorted(found)
            if fnmatch.fnmatch(each.name, pattern or "*")
        ]
        return {"success": True, "path": path, "items": items, "total_count": len(items)}

    def _search_in_code(self, query: str, path: str = ".", max_results: int = 100, **_: Any) -> Result:
        matches = [
            {"file": str(file.relative_to(self.folder)), "line": number, "text": line}
            for file in sorted(self._path(path).rglob("*"))
            if file.is_file() and ".git" not in file.parts
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
            if query in line
        ]
        shown = matches[:max_results]
        return {"query": query, "matches": shown, "total_matches": len(matches), "truncated": len(shown) < len(matches)}

    def _create_directory(self, path: str, **_: Any) -> Result:
        place = self._path(path)
        existed = place.is_dir()
        place.mkdir(parents=True, exist_ok=True)
        return {"success": True, "path": path, "created": not existed, "already_exists": existed}

    def _execute_command(self, command: str, cwd: str | None = None, timeout: int = 60, **more: Any) -> Result:
        began = time.monotonic()
        words: Any = command if more.get("shell") else command.split()
        done = subprocess.run(
            words,
            cwd=self._path(cwd or "."),
            timeout=timeout,
            shell=bool(more.get("shell")),
            capture_output=True,
            text=True,
            check=False,
        )
        return {
            "command": command,
            "exit_code": done.returncode,
            "stdout": done.stdout[-20_000:],
            "stderr": done.stderr[-20_000:],
            "duration_ms": int((time.monotonic() - began) * 1000),
            "timed_out": False,
        }

    def _delete_file(self, path: str, **_: Any) -> Result:
        self._path(path).unlink()
        return {"success": True, "path": path}

    def _move_file(self, from_: str, to: str, **_: Any) -> Result:
        shutil.move(self._path(from_), self._path(to))
        return {"success": True, "from": from_, "to": to}

    def _apply_diff(self, path: str, diff: str, **_: Any) -> Result:
        place = self._path(path)
        text = place.read_text(encoding="utf-8")
        blocks = BLOCK.findall(diff)
        for old, new in blocks:
            if text.count(old) != 1:
                raise ToolFailed(f"The lines to replace are {text.count(old)} times in {path}: {old[:80]!r}")
            text = text.replace(old, new)
        place.write_text(text, encoding="utf-8")
        return {"success": True, "path": path, "blocks_applied": len(blocks)}

    def _git_diff(self, path: str = ".", staged: bool = False, **_: Any) -> Result:
        return {"success": True, "diff": self._git("diff", *(["--staged"] if staged else []), "--", path)}

    def _git_commit(self, message: str, paths: list[str] | None = None, **_: Any) -> Result:
        if paths:
            self._git("add", "--", *paths)
        self._git("-c", "user.name=Alice", "-c", "user.email=alice@example.org", "commit", "-m", message)
        return {"success": True, "commit": self._git("rev-parse", "HEAD").strip()}

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolFailed(done.stderr or done.stdout)
        return done.stdout
