"""Finds keywords of roles in a message: whole words, in their English and Russian forms.

A keyword is a word or a phrase. Its last word may end in `*` for any ending (Russian stems); a single English word also
matches its regular forms. "fix" matches "fixed" but not "prefix", "debug" does not match "debugger".
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from agents.roles import Role

CODE_PATTERN = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
#: Names of files and identifiers: `src/error.py` says nothing about an error.
IDENTIFIER_PATTERN = re.compile(r"\S*(?:\w[/\\._]\w|_|::)\S*")


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"[\w']+", text.casefold().replace("ё", "е").replace("’", "'"))


def score_agents(text: str, agents: Sequence[Role]) -> dict[str, int]:
    """Return for each agent how many words of its keywords a message has.

    Words in pasted code and file names count only if nothing else matches.
    """
    prose = IDENTIFIER_PATTERN.sub(" ", CODE_PATTERN.sub(" ", text))
    for part in (prose, text):
        words = split_words(part)
        scores = {
            role.name: sum(len(keyword) for keyword in map(_compile, role.keywords) if _contains(words, keyword))
            for role in agents
        }
        if any(scores.values()):
            break
    return scores


@lru_cache(maxsize=1000)
def _compile(keyword: str) -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each word of a keyword."""
    is_stem = keyword.endswith("*")
    *first, last = split_words(keyword)
    patterns = [re.compile(re.escape(word)) for word in first]
    if is_stem:
        patterns.append(re.compile(re.escape(last) + r"\w*"))
    elif last.isascii() and last.isalpha() and not first:
        patterns.append(re.compile("|".join(map(re.escape, _inflections(last)))))
    else:
        patterns.append(re.compile(re.escape(last)))
    return tuple(patterns)


def _inflections(word: str) -> Iterator[str]:
    """Yield the regular forms of an English word: fix, fixes, fixed, fixing; but not fixture or prefix."""
    yield from (word, f"{word}s", f"{word}ed", f"{word}ing", f"{word}{word[-1]}ed", f"{word}{word[-1]}ing")
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{word}es"
    if word.endswith("e"):
        yield from (f"{word}d", f"{word[:-1]}ing")
    if word.endswith("y"):
        yield from (f"{word[:-1]}ies", f"{word[:-1]}ied")


def _contains(words: Sequence[str], keyword: Sequence[re.Pattern[str]]) -> bool:
    return any(
        all(pattern.fullmatch(word) for pattern, word in zip(keyword, words[start:], strict=False))
        for start in range(len(words) - len(keyword) + 1)
    )
