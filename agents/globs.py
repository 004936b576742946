"""Patterns of names that clients compare with files: never a way out of the folder that they search.

The server does not know which kind of pattern a client reads, so a pattern must stay inside under all of them: with
braces, classes, alternatives in parentheses, and shells that let wildcards match `..`.
"""

import re
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatchcase

from agents.paths import SLASH_LIKE, UnsafePath

#: Alternatives that braces of one pattern may have.
MAX_ALTERNATIVES = 256

_BRACES = re.compile(r"\{([^{}]*)\}")
_ALTERNATIVES = re.compile(r"[@?*+!]\(([^)]*)\)?|\|")
_SPECIAL = {"\\": "a backslash", "~": "a tilde", "$": "a variable", "%": "a percent sign", ":": "a colon"}


def check(pattern: str) -> str:
    """Return a pattern of file names as it is. Raises UnsafePath if it may lead out of the folder it begins in."""
    for spelled in dict.fromkeys((pattern, unicodedata.normalize("NFKC", pattern))):
        if reason := _find_problem(spelled):
            raise UnsafePath(pattern, reason)
    return pattern


def _find_problem(pattern: str) -> str:
    """Return what is wrong with a pattern, or an empty text."""
    for character in pattern:
        if character in _SPECIAL:
            return f"the pattern has {_SPECIAL[character]}"
        if character in SLASH_LIKE or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return "the pattern has a character that may be misread"
    alternatives = list(_expand(pattern))
    if len(alternatives) > MAX_ALTERNATIVES:
        return "the pattern has too many alternatives"
    # Some clients take a list of patterns.
    for piece in (piece for alternative in alternatives for piece in (alternative, *re.split(r"[,;\s]", alternative))):
        # Braces and signs that are left may mean nothing to a client.
        if piece.startswith("/") or re.sub(r"[{}()|@+!]", "", piece).startswith("/"):
            return "the pattern is absolute"
        *folders, name = piece.removeprefix("!").split("/")
        if any(map(_may_be_parent, set(folders))) or _may_be_parent(name, is_last=True):
            return "the pattern has .., which may lead out of the workspace"
    return ""


def _expand(pattern: str) -> Iterator[str]:
    """Return what a pattern with braces stands for, one alternative more than allowed at most."""
    waiting, count = [pattern], 0
    while waiting and count <= MAX_ALTERNATIVES and len(waiting) <= MAX_ALTERNATIVES:
        text = waiting.pop()
        if braces := _BRACES.search(text):
            parts = dict.fromkeys([*braces[1].split(","), *([braces[1]] if "," not in braces[1] else [])])
            waiting.extend(f"{text[: braces.start()]}{part}{text[braces.end() :]}" for part in parts)
        else:
            count += 1
            yield text
    if waiting:
        yield from [""] * (MAX_ALTERNATIVES + 1)


def _may_be_parent(name: str, *, is_last: bool = False) -> bool:
    """Return whether some program may read one name of a pattern as `..`."""
    if _ALTERNATIVES.search(name):
        inner = "".join(match[1] or "" for match in _ALTERNATIVES.finditer(name))
        if name.startswith(".") or name.endswith(".") or ("." in inner and not is_last) or "..(" in name:
            return True
    bare = re.sub(r"[{}()|]", "", name)
    if is_last and re.search(r"[*?]", name) and not name.startswith(".."):
        # It names what is in a folder, such as `*.*` or `.*`, and never the folder above.
        return False
    # Brackets that nothing closes are no dots, and fnmatch looks for the end of each.
    if "[" in bare[bare.rfind("]") + 1 :]:
        return False
    is_star = not bare.strip("*")
    return bare == ".." or (not is_star and fnmatchcase("..", bare.replace("[^", "[!")))
