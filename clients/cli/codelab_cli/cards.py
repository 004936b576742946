"""What a person sees when a call or a plan waits for a decision: the exact command, a diff, the sub-tasks.

Everything is shown as the event's `display` has it, in which the server has named hidden characters, and what is still
able to move a cursor is named here.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from codelab_cli.items import PLAN_MARKS, Payload
from codelab_cli.visible import visible

#: Lines of a diff on the screen. The rest can be read with `e`.
MAX_DIFF_LINES = 300
MAX_FILE_BYTES = 1_000_000
STYLES = {"+": "green", "-": "red", "@": "cyan"}


def call_card(payload: Payload, root: Path) -> list[RenderableType]:
    """Return what is shown of a call that asks, for a workspace at this folder."""
    tool = str(payload.get("tool"))
    shown: dict[str, Any] = payload.get("display") or payload.get("arguments") or {}
    agent = f"{payload['agent']} wants to " if payload.get("agent") else ""
    lines: list[RenderableType] = []
    match tool:
        case "execute_command":
            lines += [Text(f"{agent}run:", "bold"), *_command(shown)]
        case "write_file":
            text, is_new = _file_text(root, str(shown.get("path")))
            lines.append(Text(f"{agent}{'create' if is_new else 'write'} {visible(str(shown.get('path')))}:", "bold"))
            lines += diff_lines(unified(text, str(shown.get("content", "")), str(shown.get("path"))))
        case "apply_diff":
            lines.append(Text(f"{agent}change {visible(str(shown.get('path')))}:", "bold"))
            lines += diff_lines(_block_lines(str(shown.get("diff", "")), _file_text(root, str(shown.get("path")))[0]))
        case "delete_file":
            lines.append(Text(f"{agent}delete {visible(str(shown.get('path')))}", "bold red"))
        case "move_file":
            names = f"{visible(str(shown.get('from')))} to {visible(str(shown.get('to')))}"
            lines.append(Text(f"{agent}move {names}", "bold"))
        case _:
            lines.append(Text(f"{agent}call {visible(tool)}:", "bold"))
            lines.append(Text(visible(json.dumps(shown, ensure_ascii=False, indent=2))))
    if reason := payload.get("reason"):
        lines.append(Text(visible(str(reason)), "bold yellow" if payload.get("unknown") else "dim"))
    return lines


def _command(shown: dict[str, Any]) -> Iterator[Text]:
    yield Text.assemble(("$ ", "dim"), (visible(str(shown.get("command"))), "bold"))
    details = [f"in {visible(str(shown['cwd']))}"] if shown.get("cwd") else []
    details += ["in a shell"] if shown.get("shell") else []
    details += [f"for at most {shown['timeout']} s"] if shown.get("timeout") else []
    if details:
        yield Text("  " + ", ".join(details), "dim")


def plan_card(payload: Payload) -> list[RenderableType]:
    """Return what is shown of a plan."""
    lines: list[RenderableType] = [Text(f"Plan: {visible(str(payload.get('goal') or ''))}", "bold")]
    for number, subtask in enumerate(payload.get("subtasks") or (), 1):
        needs = f", after {', '.join(map(str, subtask['dependencies']))}" if subtask.get("dependencies") else ""
        mark = PLAN_MARKS.get(str(subtask.get("status", "pending")), "○")
        line = Text.assemble(f"{mark} {number}. ", (f"{subtask.get('agent')}: ", "cyan"))
        line.append(visible(str(subtask.get("description"))))
        line.append(f"  ({visible(str(subtask.get('id')))}{visible(needs)})", "dim")
        lines.append(line)
    return lines


def diff_lines(lines: Iterable[str]) -> list[RenderableType]:
    """Return the lines of a diff in colour, the first ones of a long one."""
    lines = list(lines)
    shown: list[RenderableType] = [
        Text(visible(line), "bold" if line[:3] in ("+++", "---") else STYLES.get(line[:1], ""))
        for line in lines[:MAX_DIFF_LINES]
    ]
    if not lines:
        shown.append(Text("(no difference)", "dim"))
    if len(lines) > MAX_DIFF_LINES:
        shown.append(Text(f"… {len(lines) - MAX_DIFF_LINES} more lines; `e` opens all of them", "bold yellow"))
    return shown


def unified(before: str, after: str, path: str) -> list[str]:
    """Return the lines of a unified diff, without line ends."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm="")
    lines = list(found)
    if before and after and before.endswith("\n") != after.endswith("\n"):
        lines.append("\\ The line end at the end of the file " + ("is added" if after.endswith("\n") else "is removed"))
    return lines


def _block_lines(diff: str, file: str) -> Iterator[str]:
    """Yield each block of SEARCH and REPLACE as a hunk, with the line where the file has it."""
    search: list[str] = []
    replace: list[str] = []
    part: list[str] | None = None
    for line in diff.splitlines():
        match line.rstrip():
            case "<<<<<<< SEARCH":
                search, replace = [], []
                part = search
            case "=======" if part is search:
                part = replace
            case ">>>>>>> REPLACE" if part is replace:
                part = None
                place = f"\n{file}".find("\n" + "\n".join(search))
                yield f"@@ line {file.count(chr(10), 0, place) + 1} @@" if place >= 0 else "@@ not found in the file @@"
                hunk = difflib.unified_diff(search, replace, lineterm="", n=max(len(search), len(replace)))
                yield from [each for each in hunk if not each.startswith(("---", "+++", "@@"))]
            case _ if part is not None:
                part.append(line)


def _file_text(root: Path, path: str) -> tuple[str, bool]:
    """Return the text of a file inside of the workspace, and whether the file is new."""
    try:
        file = (root / path).resolve()
        if not file.is_relative_to(root.resolve()):
            return "", False
        if not file.exists():
            return "", True
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES).decode("utf-8", errors="replace"), False
    except (OSError, ValueError):
        return "", False
