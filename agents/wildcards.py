"""Patterns with `*` and `?`, compared in a time that no pattern can make long."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def fits(pattern: str, text: str) -> bool:
    """Say whether a whole text fits: `*` is any number of characters, `?` is one, everything else is itself."""
    return sequence_fits(pattern, text, "*", lambda wild, character: wild in ("?", character))


def sequence_fits[P, T](pattern: Sequence[P], items: Sequence[T], star: P, same: Callable[[P, T], bool]) -> bool:
    """Say whether all items fit, where `star` is any number of them and `same` compares one with one."""
    # Going back to the last star only is enough, and is what keeps this from taking exponential time.
    at = behind = begun = 0
    back = -1
    while behind < len(items):
        if at < len(pattern) and pattern[at] == star:
            back, begun = at, behind
            at += 1
        elif at < len(pattern) and same(pattern[at], items[behind]):
            at, behind = at + 1, behind + 1
        elif back >= 0:
            begun += 1
            at, behind = back + 1, begun
        else:
            return False
    return all(rest == star for rest in pattern[at:])
