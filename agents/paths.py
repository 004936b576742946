"""Paths in tool arguments: relative, inside the workspace, and the same to every operating system.

The server has no workspace. The client joins accepted paths to its root, so they must be harmless under both POSIX and
Windows rules. Only the client can check symbolic links and mount points. Refusing a strange but legal name costs the
model one more try; accepting a trap costs the user's files.
"""

import re
import unicodedata
from collections.abc import Iterable

from agents.wildcards import Texts

#: Of a whole path, and of one name, as most file systems allow.
MAX_PATH_CHARACTERS = 1024
MAX_NAME_BYTES = 255

#: Windows reserves these for devices, whatever the extension.
DEVICE_NAMES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"}
    | {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789"}
)

#: Characters that some code page or normalisation turns into a separator.
SLASH_LIKE = frozenset("\u00a5\u20a9\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe68\uff0f\uff3c")

#: Two-byte overlong forms of ASCII characters, as they look when bytes are read as Latin-1.
OVERLONG_FORM = re.compile("[\u00c0\u00c1][\u0080-\u00bf]")

#: Characters that Windows forbids or gives a meaning, or that start an expansion, with the reason for the model.
FORBIDDEN_CHARACTERS = {
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


class UnsafePath(ValueError):
    """A refused path; the message tells the model why."""

    def __init__(self, path: str, reason: str) -> None:
        excerpt = path if len(path) <= 80 else path[:80] + "…"
        super().__init__(
            f"The path {excerpt!r} is refused: {reason}. Use a path relative to the workspace, like src/main.py"
        )


def normalize(path: str) -> str:
    """Return a path in its only accepted spelling: relative, `/` between names, `.` only for the workspace itself.

    Raises UnsafePath.
    """
    reason = _find_problem(path) or ("" if path.isascii() else _find_problem(unicodedata.normalize("NFKC", path)))
    if reason:
        raise UnsafePath(path, reason)
    return "/".join(name for name in path.split("/") if name not in ("", ".")) or "."


class Paths:
    """Normalized paths that are compared with many patterns.

    `*` and `?` stay within a name, `**` spans folders. A pattern without `/` is compared with the last name alone, at
    any depth; `docs/**` matches the folder and everything in it. Grants must compare case; denials must ignore it,
    because the client's file system may.
    """

    def __init__(self, paths: Iterable[str], *, ignore_case: bool = False) -> None:
        self._ignore_case = ignore_case
        # With a slash before each name.
        spelled = [f"/{self._spell(path)}" for path in dict.fromkeys(paths)]
        self._texts = Texts(spelled)
        self._slashes = self._texts.mask("/")
        self._names = self._texts.inside ^ self._slashes
        begin, last_slashes = 0, []
        for path in spelled:
            last_slashes.append(begin + path.rindex("/"))
            begin += len(path) + 1
        self._last_slashes = self._texts.mask_of(last_slashes)

    def match_any(self, pattern: str) -> bool:
        """Return whether at least one path matches. Raises `wildcards.TooMuchWork`."""
        return bool(self._match(pattern))

    def match_all(self, pattern: str) -> bool:
        """Return whether all paths match. Raises `wildcards.TooMuchWork`."""
        return self._match(pattern) == self._texts.ends

    def _spell(self, text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return text.casefold() if self._ignore_case else text

    def _match(self, pattern: str) -> int:
        """Return the ends of the paths that match."""
        texts, pattern = self._texts, self._spell(pattern)
        if "/" not in pattern and pattern != "**":
            return texts.step(pattern, self._last_slashes << 1, self._names) & texts.ends
        state = texts.starts
        for name in pattern.split("/"):
            if not state:
                break
            texts.charge(4)
            if name == "**":
                # A name begins, or the path ends.
                state = texts.spread(state, texts.inside) & (self._slashes | texts.ends)
            else:
                state = texts.step(name, (state & self._slashes) << 1, self._names) & (self._slashes | texts.ends)
        return state & texts.ends


def matches(pattern: str, path: str, *, ignore_case: bool = False) -> bool:
    """Return whether a normalized path matches a pattern (`Paths`)."""
    return Paths([path], ignore_case=ignore_case).match_any(pattern)


def matches_any(patterns: Iterable[str], path: str) -> bool:
    """Return whether a normalized path matches at least one pattern; case counts."""
    paths = Paths([path])
    return any(map(paths.match_any, patterns))


def _find_problem(path: str) -> str:
    """Return what is wrong with a path, or an empty text."""
    if not path or not path.strip():
        return "it is empty"
    if len(path) > MAX_PATH_CHARACTERS:
        return f"it is longer than {MAX_PATH_CHARACTERS} characters"
    if path.startswith(("/", "\\")):
        return "it is absolute"
    is_plain = path.isascii() and path.isprintable() and FORBIDDEN_CHARACTERS.keys().isdisjoint(path)
    for character in "" if is_plain else path:
        if reason := FORBIDDEN_CHARACTERS.get(character) or _find_character_problem(character):
            return reason
    if OVERLONG_FORM.search(path):
        return "it has an overlong form of another character"
    if path.startswith("-"):
        return "it begins with a hyphen, which programs take for an option"
    if re.match(r"\$[A-Z_]+(/|$)", path) or "${" in path or "$(" in path:
        return "it has a variable, which nothing expands"
    names = path.removesuffix("/").split("/")
    return next((reason for name in names if (reason := _find_name_problem(name))), "")


def _find_character_problem(character: str) -> str:
    # Controls, formatting such as text direction, surrogates, private use, unassigned, line separators.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"it has the invisible or invalid character U+{ord(character):04X}"
    if character != " " and character.isspace():
        return f"it has the unusual space U+{ord(character):04X}"
    if character in SLASH_LIKE:
        return f"it has U+{ord(character):04X}, which looks like a separator"
    return ""


def _find_name_problem(name: str) -> str:
    if name == ".":
        return ""
    if name == "..":
        return "it has .., which may lead out of the workspace"
    if not name:
        return "it has two separators in a row"
    if name != name.strip(" ") or name.endswith("."):
        return "a name in it begins or ends with a space, or ends with a dot, which Windows removes"
    if name.startswith("~") or re.search(r"~\d", name):
        return "a name in it has a tilde, which can mean a home folder or a Windows short name"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"a name in it is longer than {MAX_NAME_BYTES} bytes"
    if name.split(".", maxsplit=1)[0].rstrip(" ").upper() in DEVICE_NAMES:
        return "a name in it is a Windows device"
    return ""
