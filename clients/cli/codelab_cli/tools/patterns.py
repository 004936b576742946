"""Patterns of names that models give, such as `*.{ts,tsx}` and `src/**/*.py`, compared in linear time."""

import re
from fnmatch import translate

from codelab_cli.outcome import ToolFailed

MAX_ALTERNATIVES = 200

_BRACES = re.compile(r"\{([^{}]*)\}")


class Pattern:
    """A pattern, ready to be compared with many paths.

    `*` and `?` stay within a name and `**` spans folders. A pattern without `/` is about the last name, at any depth.
    """

    def __init__(self, text: str) -> None:
        alternatives = [text]
        while any(_BRACES.search(each) for each in alternatives):
            alternatives = [changed for each in alternatives for changed in _expand(each)]
            if len(alternatives) > MAX_ALTERNATIVES:
                raise ToolFailed(f"The pattern {text[:80]!r} has too many alternatives")
        self._names = [re.compile(translate(each)) for each in alternatives if "/" not in each]
        self._paths = [
            [None if part == "**" else re.compile(translate(part)) for part in each.removeprefix("./").split("/")]
            for each in alternatives
            if "/" in each
        ]

    def has(self, path: str) -> bool:
        """Return whether a path matches."""
        names = path.split("/")
        return any(name.match(names[-1]) for name in self._names) or any(_match(each, names) for each in self._paths)


def _expand(text: str) -> list[str]:
    """Return the texts that the first pair of braces stands for."""
    braces = _BRACES.search(text)
    if not braces:
        return [text]
    return [text[: braces.start()] + choice + text[braces.end() :] for choice in braces[1].split(",")]


def _match(parts: list[re.Pattern[str] | None], names: list[str]) -> bool:
    # How many parts may have been used when this many names are; None is any number of names.
    used = _skip({0}, parts)
    for name in names:
        after: set[int] = set()
        for place in used - {len(parts)}:
            part = parts[place]
            if part is None:
                after.add(place)
            elif part.match(name):
                after.add(place + 1)
        used = _skip(after, parts)
    return len(parts) in used


def _skip(used: set[int], parts: list[re.Pattern[str] | None]) -> set[int]:
    """Return the places and those behind parts that may stand for no name."""
    places = set(used)
    for place, part in enumerate(parts):
        if place in places and part is None:
            places.add(place + 1)
    return places
