"""What `codelab run` may approve by itself: the patterns of `--allow`, compared with what the server asks about.

The server's judgement stands first: a command that it calls opaque (a shell's operators, wrappers, code in arguments)
is covered by its exact text alone, never by a pattern.
"""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pathspec

from codelab_cli.failures import ExitCode, Failure
from codelab_cli.items import Payload

KINDS = {
    "write_file": "edit",
    "apply_diff": "edit",
    "create_directory": "edit",
    "delete_file": "edit",
    "move_file": "edit",
    "execute_command": "command",
    "git_commit": "command",
    "create_plan": "plan",
}
#: Names of an entry. Any other one is the name of a tool, with wildcards.
CATEGORIES = {"read", "edit", "command", "other", "plan", "all"}
#: Hooks and settings of version control run programs, and no change of a project needs them.
NEVER_BY_PATTERN = re.compile(r"(^|/)\.(git|hg|svn|jj)(/|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One entry of `--allow`: a category or the name of a tool, and a pattern for what it is about."""

    name: str
    pattern: str = ""

    def covers(self, payload: Payload) -> bool:
        """Return whether the entry allows a call that asks."""
        tool = str(payload.get("tool"))
        kind = KINDS.get(tool) or str(payload.get("kind") or "other")
        if self.name == "all":
            return True
        if self.name != kind and not (self.name not in CATEGORIES and fnmatch.fnmatchcase(tool, self.name)):
            return False
        arguments = payload.get("arguments") or {}
        if tool == "execute_command":
            return self._covers_command(arguments, is_opaque=payload.get("rule") == "opaque command")
        paths = [str(arguments[name]) for name in ("path", "from", "to") if arguments.get(name)]
        if kind == "edit":
            return all(self._covers_path(path) for path in paths)
        return not self.pattern or any(fnmatch.fnmatchcase(str(each), self.pattern) for each in arguments.values())

    def _covers_command(self, arguments: dict[str, Any], *, is_opaque: bool) -> bool:
        command = str(arguments.get("command", ""))
        if is_opaque or arguments.get("shell"):
            return self.pattern == command
        return not self.pattern or fnmatch.fnmatchcase(command, self.pattern)

    def _covers_path(self, path: str) -> bool:
        if NEVER_BY_PATTERN.search(path):
            return self.pattern == path
        return not self.pattern or pathspec.GitIgnoreSpec.from_lines([self.pattern]).match_file(path)


@dataclass(frozen=True)
class Allowed:
    """All entries of `--allow`."""

    entries: tuple[Entry, ...] = field(default=())

    def covers(self, payload: Payload) -> bool:
        """Return whether any entry allows a call that asks. A call that may have run before is a person's to judge."""
        return not payload.get("unknown") and any(entry.covers(payload) for entry in self.entries)


def parse_allowed(options: Iterable[str]) -> Allowed:
    r"""Read `--allow`: entries between commas (`\,` is a comma of a pattern), `category[:pattern]`. Raises Failure."""
    entries = []
    for text in (part.replace("\\,", ",") for option in options for part in re.split(r"(?<!\\),", option)):
        name, separator, pattern = text.strip().partition(":")
        if not name or (separator and not pattern):
            raise Failure(
                f"`{text}` is not an entry of --allow.",
                "Write a category (read, edit, command, other, plan, all) or a tool, and perhaps `:` and a pattern.",
                code=ExitCode.USAGE,
            )
        entries.append(Entry(name, pattern))
    return Allowed(tuple(entries))
