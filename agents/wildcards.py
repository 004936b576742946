"""Compares texts with patterns of `*` and `?`, in a time that no pattern and no text can stretch.

All texts of a comparison are one row of places, and a set of places is one large integer. A pattern is read sign by
sign, and each sign moves the whole set at once. So a pattern takes as many steps as it has signs, whatever the texts
are, and a step takes a microsecond for 20,000 characters. Backtracking would take minutes for some pairs.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby, zip_longest

#: Steps times places that one set of texts may be compared for. A tenth of a second.
MAX_WORK = 1_000_000_000


class TooMuchWork(Exception):
    """The texts are too long for so many and such long patterns. Nothing is known about a match."""


class Texts:
    """Texts that are compared with many patterns. Behind each text is one more place, its end."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._places: dict[str, list[int]] = {}
        self._masks: dict[str, int] = {}
        self._work = 0
        starts, ends = [], []
        place = 0
        for text in texts:
            starts.append(place)
            for character in text:
                self._places.setdefault(character, []).append(place)
                place += 1
            ends.append(place)
            place += 1
        self.size = place
        #: Where texts begin, where they end, and all places between.
        self.starts, self.ends = self.mask_of(starts), self.mask_of(ends)
        self.inside = ((1 << place) - 1) ^ self.ends

    def mask_of(self, places: Iterable[int]) -> int:
        """Return places as a set."""
        bits = bytearray(self.size // 8 + 1)
        for place in places:
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")

    def mask(self, character: str) -> int:
        """Return the places of a character."""
        mask = self._masks.get(character)
        if mask is None:
            mask = self._masks[character] = self.mask_of(self._places.get(character, ()))
        return mask

    def step(self, pattern: str, state: int, within: int) -> int:
        """Return the places that a pattern reaches from those of a state. Wildcards cover places of `within` alone.

        Raises TooMuchWork.
        """
        for sign in _without_repeated_stars(pattern):
            if not state:
                return 0
            self.charge()
            if sign == "*":
                state = self.spread(state, within)
            elif sign == "?":
                state = (state & within) << 1
            else:
                state = (state & self.mask(sign)) << 1
        return state

    def charge(self, steps: int = 1) -> None:
        """Count steps over all places. Raises TooMuchWork."""
        self._work += steps * self.size
        if self._work > MAX_WORK:
            raise TooMuchWork

    @staticmethod
    def spread(state: int, within: int) -> int:
        """Return all places from those of a state to the first one that is not in `within`."""
        # The carry of an addition runs through each row of places to its end.
        return state | (((state & within) + within) ^ within)

    def matches_any(self, pattern: str) -> bool:
        """Return whether the whole of at least one text matches."""
        return bool(self.step(pattern, self.starts, self.inside) & self.ends)


class WordRow:
    """Words in a row; each of the first ones may have a second spelling, its stem."""

    def __init__(self, words: Sequence[str], stems: Sequence[str] = ()) -> None:
        texts: list[str] = []
        stem_places: list[int] = []
        for word, stem in zip_longest(words, stems):
            if stem not in (None, word):
                # The stem stands before its word.
                stem_places.append(len(texts))
                texts.append(stem)
            texts.append(word)
        self._texts = Texts(texts)
        begins = list(accumulate((len(text) + 1 for text in texts), initial=0))
        self._stems = self._texts.mask_of(begins[place] for place in stem_places)
        self._stem_ends = self._texts.mask_of(begins[place + 1] - 1 for place in stem_places)
        self._word_ends = self._texts.ends ^ self._stem_ends
        self._begins = self._texts.starts
        self._last_end = 1 << (self._texts.size - 1) if texts else 0

    def matches(self, parts: list[str]) -> bool:
        """Return whether the pattern is that of all words, or with `*` at its end, that of the first ones."""
        fixed = _without_open_end(parts)
        if not fixed:
            return len(parts) > len(fixed) or not self._texts.size
        ends = self._match(fixed, self._begins & 1)
        return bool(ends if len(parts) > len(fixed) else ends & self._last_end)

    def contains(self, parts: list[str]) -> bool:
        """Return whether the pattern is that of some words in a row."""
        fixed = _without_open_end(parts)
        if not fixed:
            return bool(self._texts.size)
        return bool(self._match(fixed, self._begins ^ self._first_words()))

    def _first_words(self) -> int:
        """Return the beginnings of words behind their stems, which are reached through those."""
        return self._stem_ends << 1

    def _match(self, parts: list[str], state: int) -> int:
        """Return the ends of words that are reached from beginnings of words or their stems."""
        first, *others = parts
        texts = self._texts
        ends = texts.step(first, self._skip_stems(state), texts.inside) & self._word_ends
        if by_stem := texts.step(first, state & self._stems, texts.inside) & self._stem_ends:
            ends |= texts.spread(by_stem << 1, texts.inside) & self._word_ends
        for part in others:
            if not ends:
                break
            texts.charge(4)
            ends = texts.step(part, self._skip_stems((ends << 1) & self._begins), texts.inside) & self._word_ends
        return ends

    def _skip_stems(self, state: int) -> int:
        """Return the beginnings of words, where some are those of stems before words."""
        if not (stems := state & self._stems):
            return state
        texts = self._texts
        return (state ^ stems) | ((texts.spread(stems, texts.inside) & self._stem_ends) << 1)


def matches(pattern: str, text: str) -> bool:
    """Return whether a whole text matches: `*` is any number of characters, `?` is one, everything else is literal."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    return pattern == "*" or Texts([text]).matches_any(pattern)


def _without_repeated_stars(pattern: str) -> Iterator[str]:
    for sign, group in groupby(pattern):
        if sign == "*":
            yield sign
        else:
            yield from group


def _without_open_end(parts: list[str]) -> list[str]:
    """Return the parts before a `*` at the end, which is any number of words. Other `*` are one word."""
    return parts[:-1] if parts[-1:] == ["*"] else parts
