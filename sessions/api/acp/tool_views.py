"""How an editor shows a tool call: its title, kind, files and diffs. Pure."""

import re
from typing import Any

from agents.tools import CREATE_PLAN, TOOLS, ToolKind

#: Characters of a title. The whole arguments go to the editor, too.
MAX_TITLE_CHARACTERS = 200
#: Diffs of one call.
MAX_DIFFS = 50

#: ACP's kinds of our tools, where the tool's own kind says less.
KINDS = {
    "search_in_code": "search",
    "list_files": "search",
    "delete_file": "delete",
    "move_file": "move",
    CREATE_PLAN: "think",
}
KIND_OF_TOOL = {ToolKind.READ: "read", ToolKind.EDIT: "edit", ToolKind.COMMAND: "execute"}
TITLES = {
    "read_file": "Read {path}",
    "list_files": "List {path}",
    "search_in_code": "Search for {query}",
    "write_file": "Write {path}",
    "apply_diff": "Edit {path}",
    "create_directory": "Create the folder {path}",
    "delete_file": "Delete {path}",
    "move_file": "Move {from} to {to}",
    "execute_command": "{command}",
    "git_diff": "Show uncommitted changes",
    "git_commit": "Commit: {message}",
    CREATE_PLAN: "Plan: {goal}",
}
PATH_ARGUMENTS = ("path", "from", "to")
#: The lines of a diff that begin, divide and end a block.
MARKS = ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE")


def absolute(folder: str, path: str) -> str:
    """Return a path of the workspace as the editor's machine names it."""
    if not folder or path in ("", "."):
        return folder or path
    is_windows = "\\" in folder or folder[1:2] == ":"
    separator = "\\" if is_windows else "/"
    return folder.rstrip("/\\") + separator + (path.replace("/", "\\") if is_windows else path)


def kind_of(tool: str) -> str:
    """Return the kind of a tool in ACP's words."""
    if tool in KINDS:
        return KINDS[tool]
    return KIND_OF_TOOL.get(TOOLS[tool].kind, "other") if tool in TOOLS else "other"


def title_of(tool: str, shown: dict[str, Any]) -> str:
    """Return what a call does, in the words for people."""
    template = TITLES.get(tool)
    if template is None:
        return tool.removeprefix("mcp__").replace("__", ": ")[:MAX_TITLE_CHARACTERS]
    words = {name: " ".join(str(value).split()) for name, value in shown.items()}
    title = re.sub(r"\{(\w+)\}", lambda match: words.get(match[1], ""), template).strip(" :")
    return title if len(title) <= MAX_TITLE_CHARACTERS else f"{title[: MAX_TITLE_CHARACTERS - 1]}…"


def locations_of(arguments: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    """Return the files that a call is about."""
    paths = [arguments[name] for name in PATH_ARGUMENTS if isinstance(arguments.get(name), str)]
    line = arguments.get("start_line")
    first = {"line": line} if isinstance(line, int) else {}
    return [{"path": absolute(folder, path), **first} for path in paths if path != "."]


def diffs_of(tool: str, arguments: dict[str, Any], folder: str) -> list[dict[str, Any]]:
    """Return the changes that a call asks for. The server has no files, so a written file is shown as new."""
    path = absolute(folder, str(arguments.get("path", "")))
    if tool == "write_file":
        return [{"type": "diff", "path": path, "oldText": None, "newText": str(arguments.get("content", ""))}]
    if tool == "apply_diff":
        return [
            {"type": "diff", "path": path, "oldText": old, "newText": new}
            for old, new in blocks_of(str(arguments.get("diff", "")))[:MAX_DIFFS]
        ]
    return []


def blocks_of(diff: str) -> list[tuple[str, str]]:
    """Return the SEARCH and REPLACE parts of a diff, which the policy may have refused.

    Line by line, because an expression would read the rest of a bad diff again at each of its marks.
    """
    blocks: list[tuple[str, str]] = []
    parts: list[list[str]] = []
    for line in diff.splitlines(keepends=True):
        if line.rstrip() != MARKS[len(parts)]:
            if parts:
                parts[-1].append(line)
        elif len(parts) < 2:
            parts.append([])
        else:
            blocks.append(("".join(parts[0]), "".join(parts[1])))
            parts = []
    return blocks


def call_fields(payload: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the fields of a call from its event `tool_call_requested`."""
    tool, arguments = payload["tool"], payload["arguments"]
    fields: dict[str, Any] = {
        "toolCallId": payload["call_id"],
        "title": title_of(tool, payload.get("display", arguments)),
        "kind": kind_of(tool),
        "rawInput": arguments,
    }
    if locations := locations_of(arguments, folder):
        fields["locations"] = locations
    if content := diffs_of(tool, arguments, folder):
        fields["content"] = content
    elif tool == CREATE_PLAN:
        fields["content"] = [text_content("\n".join(_plan_lines(arguments)))]
    return fields


def text_content(text: str) -> dict[str, Any]:
    """Return a text as content of a tool call."""
    return {"type": "content", "content": {"type": "text", "text": text}}


def _plan_lines(arguments: dict[str, Any]) -> list[str]:
    subtasks = [each for each in arguments.get("subtasks", []) if isinstance(each, dict)]
    return [
        f"{number}. {each.get('description', '')} ({each.get('agent', '')})" for number, each in enumerate(subtasks, 1)
    ]
