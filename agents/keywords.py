"""Keywords of roles in a message: whole words, in the forms that English and Russian give them.

A keyword is a word or a phrase. Its last word may end in `*` for any ending (Russian stems); an English word alone also
stands for its regular forms. "fix" is in "fixed" and not in "prefix", "debug" not in "debugger".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from agents.roles import Role

CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
#: Names of files and things in code: `src/error.py` says nothing about an error.
NAMES = re.compile(r"\S*(?:\w[/\\._]\w|_|::)\S*")


def words_of(text: str) -> list[str]:
    """Return the words of a text without case."""
    return re.findall(r"[\w']+", text.casefold().replace("ё", "е").replace("’", "'"))


def scores_of(text: str, agents: Sequence[Role]) -> dict[str, int]:
    """Count for each agent how many words of its keywords a message has.

    Words in pasted code and names of files count only if there are no others.
    """
    for shown in (NAMES.sub(" ", CODE.sub(" ", text)), text):
        words = words_of(shown)
        scores = {
            role.name: sum(len(keyword) for keyword in map(_keyword, role.keywords) if _has(words, keyword))
            for role in agents
        }
        if any(scores.values()):
            break
    return scores


@lru_cache(maxsize=1000)
def _keyword(keyword: str) -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each word of a keyword."""
    stem = keyword.endswith("*")
    *first, last = words_of(keyword)
    patterns = [re.compile(re.escape(word)) for word in first]
    if stem:
        patterns.append(re.compile(re.escape(last) + r"\w*"))
    elif last.isascii() and last.isalpha() and not first:
        patterns.append(re.compile("|".join(map(re.escape, _inflected(last)))))
    else:
        patterns.append(re.compile(re.escape(last)))
    return tuple(patterns)


def _inflected(word: str) -> Iterator[str]:
    """Yield the regular forms of an English word: fix, fixes, fixed, fixing; but not fixture, and not prefix."""
    yield from (word, f"{word}s", f"{word}ed", f"{word}ing", f"{word}{word[-1]}ed", f"{word}{word[-1]}ing")
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{word}es"
    if word.endswith("e"):
        yield from (f"{word}d", f"{word[:-1]}ing")
    if word.endswith("y"):
        yield from (f"{word[:-1]}ies", f"{word[:-1]}ied")


def _has(words: Sequence[str], keyword: Sequence[re.Pattern[str]]) -> bool:
    return any(
        all(pattern.fullmatch(word) for pattern, word in zip(keyword, words[start:], strict=False))
        for start in range(len(words) - len(keyword) + 1)
    )
