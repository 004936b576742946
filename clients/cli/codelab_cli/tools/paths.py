"""Paths as models write them: relative to the workspace, `/` between names.

The server has checked them already, but the root is the client's law, and a server can be wrong or false. What a path
means on disk, symbolic links above all, is decided in `codelab_cli.tools.root`.
"""

import unicodedata
from collections.abc import Sequence

from codelab_cli.outcome import ToolFailed

MAX_PATH_CHARACTERS = 1024
#: What file systems allow.
MAX_NAME_BYTES = 255

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def split(path: str) -> tuple[str, ...]:
    """Return the names of a path; none for the workspace itself. Raises ToolFailed."""
    if problem := _find_problem(path):
        shown = path if len(path) <= 80 else f"{path[:80]}…"
        raise ToolFailed(f"The path {shown!r} is refused: {problem}. Use a path relative to the workspace.")
    return tuple(name for name in path.split("/") if name not in ("", "."))


def join(names: Sequence[str]) -> str:
    """Return the path of some names; `.` for the workspace itself."""
    return "/".join(names) or "."


def fold(name: str) -> str:
    """Return a name as a disk that ignores case, or the way letters are composed, compares it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _find_problem(path: str) -> str:
    if not path.strip():
        return "it is empty"
    if len(path) > MAX_PATH_CHARACTERS:
        return f"it is longer than {MAX_PATH_CHARACTERS} characters"
    if path.startswith("/"):
        return "it is absolute"
    if "\\" in path or ":" in path:
        return "it has a backslash or a colon, which lead elsewhere on some systems"
    if any(unicodedata.category(character) in _INVISIBLE for character in path):
        return "it has an invisible or invalid character"
    names = [name for name in path.split("/") if name not in ("", ".")]
    if names and names[0].startswith("~"):
        return "it begins with a tilde, which means a home folder"
    if any(not name.strip() for name in names):
        return "a name in it is only blanks"
    if ".." in names:
        return "it has .., which may lead out of the workspace"
    if any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        return f"a name in it is longer than {MAX_NAME_BYTES} bytes"
    return ""
