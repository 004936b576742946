"""Finds keywords of roles in a message: whole words, in their English and Russian forms.

A keyword is a word or a phrase. Its last word may end in `*` for any ending (Russian stems); a single English word also
matches its regular forms. "fix" matches "fixed" but not "prefix", "debug" does not match "debugger".

This runs on the event loop with whatever a user pastes: each word is looked up, never compared with each keyword.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from agents.roles import Role

#: The beginning and the end of a message say what it is about.
MAX_HEAD_CHARACTERS, MAX_TAIL_CHARACTERS = 15_000, 5_000

CODE_PATTERN = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
#: In names of files and identifiers: `src/error.py` says nothing about an error.
IDENTIFIER_PATTERN = re.compile(r"\w[/\\._]\w|_|::")
WORD_PATTERN = re.compile(r"[\w']+")


@dataclass(frozen=True, slots=True)
class _Index:
    """The keywords of some roles. Values are numbers of keywords in `sizes`, which has their numbers of words."""

    sizes: list[int] = field(default_factory=list)
    #: The numbers of each role's keywords.
    of_role: dict[str, list[int]] = field(default_factory=dict)
    #: Words in all their forms.
    words: dict[str, list[int]] = field(default_factory=dict)
    #: Stems by their length.
    stems: dict[int, dict[str, list[int]]] = field(default_factory=dict)
    #: Phrases by their first word: the other words, and the number. The last one may end in `*`.
    phrases: dict[str, list[tuple[list[str], int]]] = field(default_factory=dict)


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD_PATTERN.findall(text.casefold().replace("ё", "е").replace("’", "'"))


def score_agents(text: str, agents: Sequence[Role]) -> dict[str, int]:
    """Return for each agent how many words of its keywords a message has.

    Words in pasted code and file names count only if nothing else matches.
    """
    if len(text) > MAX_HEAD_CHARACTERS + MAX_TAIL_CHARACTERS:
        text = f"{text[:MAX_HEAD_CHARACTERS]} {text[-MAX_TAIL_CHARACTERS:]}"
    index = _index(tuple((role.name, role.keywords) for role in agents))
    prose = [word for word in CODE_PATTERN.sub(" ", text).split() if not IDENTIFIER_PATTERN.search(word)]
    for part in (" ".join(prose), text):
        matches = _find(split_words(part), index)
        scores = {
            role.name: sum(index.sizes[number] for number in index.of_role[role.name] if number in matches)
            for role in agents
        }
        if any(scores.values()):
            break
    return scores


@lru_cache(maxsize=10)
def _index(keywords: tuple[tuple[str, tuple[str, ...]], ...]) -> _Index:
    """Index the keywords of roles, given by the roles' names."""
    index = _Index()
    for name, of_role in keywords:
        numbers = index.of_role[name] = []
        for keyword in of_role:
            number = len(index.sizes)
            numbers.append(number)
            first, *others = split_words(keyword)
            index.sizes.append(1 + len(others))
            if others:
                others[-1] += "*" * keyword.endswith("*")
                index.phrases.setdefault(first, []).append((others, number))
            elif keyword.endswith("*"):
                index.stems.setdefault(len(first), {}).setdefault(first, []).append(number)
            else:
                for form in set(_inflections(first)) if first.isascii() and first.isalpha() else (first,):
                    index.words.setdefault(form, []).append(number)
    return index


def _inflections(word: str) -> Iterator[str]:
    """Yield the regular forms of an English word: fix, fixes, fixed, fixing; but not fixture or prefix."""
    yield from (word, f"{word}s", f"{word}ed", f"{word}ing", f"{word}{word[-1]}ed", f"{word}{word[-1]}ing")
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{word}es"
    if word.endswith("e"):
        yield from (f"{word}d", f"{word[:-1]}ing")
    if word.endswith("y"):
        yield from (f"{word[:-1]}ies", f"{word[:-1]}ied")


def _find(words: Sequence[str], index: _Index) -> set[int]:
    """Return the numbers of the keywords in a text."""
    matches: set[int] = set()
    for word in set(words):
        matches.update(index.words.get(word, ()))
        for length, stems in index.stems.items():
            numbers = stems.get(word[:length])
            if numbers and _has_stem(word, length):
                matches.update(numbers)
    for place, word in enumerate(words):
        for others, number in index.phrases.get(word, ()):
            following = words[place + 1 : place + 1 + len(others)]
            if len(following) == len(others) and all(map(_fits, others, following)):
                matches.add(number)
    return matches


def _has_stem(word: str, length: int) -> bool:
    # The ending is a part of the same word: not "debug's".
    return "'" not in word[length:]


def _fits(pattern: str, word: str) -> bool:
    if not pattern.endswith("*"):
        return word == pattern
    return word.startswith(pattern[:-1]) and _has_stem(word, len(pattern) - 1)
