"""Paths in tool arguments: relative, inside the workspace, and the same thing to every operating system.

The server has no workspace. The client joins what is accepted here to its root, so an accepted path must be harmless
under POSIX and under Windows rules, whichever the client has. What only the executor can see (symbolic links, mount
points) is the executor's duty. Refusing a strange but legal name costs the model one more try; accepting a trap costs
the user's files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from agents.wildcards import fits, sequence_fits

#: Characters of a whole path; bytes of one name, as most file systems allow.
MAX_PATH = 1024
MAX_NAME_BYTES = 255

#: Names that Windows gives to devices, whatever the extension.
DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789"}
)

#: Characters that some code page or normalisation turns into a separator.
SLASH_LIKE = frozenset("\u00a5\u20a9\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c")

#: Two-byte overlong forms of ASCII characters, as they look when bytes are read as Latin-1.
OVERLONG = re.compile("[\u00c0\u00c1][\u0080-\u00bf]")

#: What a name may not hold: characters that Windows forbids or gives a meaning, and what starts an expansion.
FORBIDDEN = {
    "\\": "it has a backslash. Separate folders with /",
    ":": "it has a colon, which means a drive or a stream on Windows",
    "%": "it has a percent sign, which can hide other characters",
    "*": "it has a wildcard; name one file or folder",
    "?": "it has a wildcard; name one file or folder",
    '"': "it has a quotation mark",
    "`": "it has a backquote",
    "<": "it has an angle bracket",
    ">": "it has an angle bracket",
    "|": "it has a vertical bar",
}

#: Folders and names whose content other programs run or trust: a change of one is never made without asking.
PROTECTED_FOLDERS = frozenset(
    {".git", ".hg", ".svn", ".bzr", ".vscode", ".idea", ".fleet", ".zed", ".husky", ".githooks", ".devcontainer"}
    | {".github", ".gitlab", ".circleci", ".cargo", ".mvn", ".yarn", ".direnv", ".codelab", ".codelab-ide"}
)
PROTECTED_NAMES = frozenset(
    # HEAD makes a folder a git repository of its own, whose configuration can name programs that `git status` runs.
    {"head", ".gitmodules", ".gitattributes", ".gitconfig", ".envrc", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc"}
    | {".bashrc", ".bash_profile", ".profile", ".zshrc", ".zshenv", ".pre-commit-config.yaml", "sitecustomize.py"}
    | {".gitlab-ci.yml", "usercustomize.py", ".mcp.json"}
)
#: The programs that may run without asking (agents.commands): Windows looks for them in the workspace first.
PROTECTED_STEMS = frozenset(["ls", "pwd", "git"])


class UnsafePath(ValueError):
    """A path that is refused; the message says why, for the model."""

    def __init__(self, path: str, reason: str) -> None:
        shown = path if len(path) <= 80 else path[:80] + "…"
        super().__init__(
            f"The path {shown!r} is refused: {reason}. Use a path relative to the workspace, like src/main.py"
        )


def normal(path: str) -> str:
    """Return a path in its one accepted spelling: relative, `/` between names, no `.` but for the workspace itself.

    Raises UnsafePath.
    """
    reason = _problem(path) or _problem(unicodedata.normalize("NFKC", path))
    if reason:
        raise UnsafePath(path, reason)
    return "/".join(name for name in path.split("/") if name not in ("", ".")) or "."


def is_protected(path: str) -> bool:
    """Say whether other programs run or trust what stands at this normal path."""
    *folders, name = [part.casefold() for part in path.split("/")]
    return (
        name in PROTECTED_NAMES
        or name.split(".")[0] in PROTECTED_STEMS
        or not PROTECTED_FOLDERS.isdisjoint([*folders, name])
    )


def matches(pattern: str, path: str, *, ignore_case: bool = False) -> bool:
    """Say whether a normal path fits a pattern.

    `*` and `?` stay within a name, `**` spans folders. A pattern without `/` is compared with the last name alone, at
    any depth; `docs/**` is what is in the folder, and the folder. What grants something must compare case; what forbids
    something must ignore it, because the client's file system may.
    """
    pattern, path = unicodedata.normalize("NFC", pattern), unicodedata.normalize("NFC", path)
    if ignore_case:
        pattern, path = pattern.casefold(), path.casefold()
    if "/" not in pattern and pattern != "**":
        return fits(pattern, path.rpartition("/")[2])
    return sequence_fits(pattern.split("/"), path.split("/"), "**", fits)


def matches_any(patterns: Iterable[str], path: str) -> bool:
    """Say whether a normal path fits at least one pattern; case counts."""
    return any(matches(pattern, path) for pattern in patterns)


def _problem(path: str) -> str:
    """Say what is wrong with a path, or nothing."""
    if not path or not path.strip():
        return "it is empty"
    if len(path) > MAX_PATH:
        return f"it is longer than {MAX_PATH} characters"
    if path.startswith(("/", "\\")):
        return "it is absolute"
    for character in path:
        if reason := FORBIDDEN.get(character) or _odd(character):
            return reason
    if OVERLONG.search(path):
        return "it has an overlong form of another character"
    if path.startswith("-"):
        return "it begins with a hyphen, which programs take for an option"
    if re.match(r"\$[A-Z_]+(/|$)", path) or "${" in path or "$(" in path:
        return "it has a variable, and nothing expands it"
    names = path.removesuffix("/").split("/")
    return next((reason for name in names if (reason := _wrong_name(name))), "")


def _odd(character: str) -> str:
    # Controls, formatting such as a change of direction, surrogates, private use, unassigned, line separators.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"it has the invisible or invalid character U+{ord(character):04X}"
    if character != " " and character.isspace():
        return f"it has the unusual space U+{ord(character):04X}"
    if character in SLASH_LIKE:
        return f"it has U+{ord(character):04X}, which looks like a separator"
    return ""


def _wrong_name(name: str) -> str:
    if name == ".":
        return ""
    if name == "..":
        return "it has .., which may lead out of the workspace"
    if not name:
        return "it has two separators in a row"
    if name != name.strip(" ") or name.endswith("."):
        return "a name in it begins or ends with a space, or ends with a dot, which Windows leaves out"
    if name.startswith("~") or re.search(r"~\d", name):
        return "a name in it has a tilde that stands for a home folder or a short name of Windows"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"a name in it is longer than {MAX_NAME_BYTES} bytes"
    if name.split(".", maxsplit=1)[0].rstrip(" ").upper() in DEVICES:
        return "a name in it is a device on Windows"
    return ""
