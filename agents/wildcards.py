"""Patterns with `*` and `?`, in polynomial time whatever the pattern."""

from collections.abc import Callable, Sequence


def matches(pattern: str, text: str) -> bool:
    """Return whether a whole text matches: `*` is any number of characters, `?` is one, everything else is literal."""
    return matches_sequence(pattern, text, "*", lambda wild, character: wild in ("?", character))


def matches_sequence[P, T](pattern: Sequence[P], items: Sequence[T], star: P, same: Callable[[P, T], bool]) -> bool:
    """Return whether all items match, where `star` is any number of them and `same` compares one with one."""
    # Backtracking to the last star only is enough, and avoids exponential time.
    at = index = star_index = 0
    last_star = -1
    while index < len(items):
        if at < len(pattern) and pattern[at] == star:
            last_star, star_index = at, index
            at += 1
        elif at < len(pattern) and same(pattern[at], items[index]):
            at, index = at + 1, index + 1
        elif last_star >= 0:
            star_index += 1
            at, index = last_star + 1, star_index
        else:
            return False
    return all(rest == star for rest in pattern[at:])
