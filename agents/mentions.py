"""Paths that the words of a command may name, compared with patterns of deny rules.

A path may be a word, stand behind `=`, `:`, `,` or letters of options, and begin in the folder in which the command
runs. The words do not show which of them a program takes for a path, so all of them are compared, at once: where a path
may begin and end are sets of places in one row of texts (`agents.wildcards.Texts`).
"""

import re
import unicodedata
from collections.abc import Iterable

from agents.wildcards import Texts

#: What may stand before or behind a path in a word.
_SEPARATORS = "=:,@()#"
_REPEATED = re.compile(r"[/\\]+")
_CURRENT_FOLDER = re.compile(rf"(^|[/{_SEPARATORS}])(?:\./)+")
_TRAILING = re.compile(rf"(?<=[^/{_SEPARATORS}])/\.?(?=$|[{_SEPARATORS}])")
#: Windows removes dots and spaces at the end of a name.
_END_OF_NAME = re.compile(rf"(?<=[^/. {_SEPARATORS}])[. ]+(?=$|[/{_SEPARATORS}])")
_BUNDLE = re.compile(r"-\w+")


class Mentions:
    """All paths that words may name, without regard to case, which the client's file system may ignore."""

    def __init__(self, words: Iterable[str], folder: str) -> None:
        # Each text begins with a slash, before the first name.
        texts = ["/" if folder == "." else f"/{_fold(folder)}"]
        glued: list[int] = []
        place = len(texts[0]) + 1
        for word in dict.fromkeys(words):
            text = "/" + _simplify(word)
            texts.append(text)
            if bundle := _BUNDLE.match(text, 1):
                glued.extend(range(place + 2, place + bundle.end()))
            glued.extend(place + current.end() - 1 for current in re.finditer(r"(?<=\w)\./", text))
            place += len(text) + 1
        self._texts = row = Texts(texts)
        self._slashes = row.mask("/")
        self._names = row.inside ^ self._slashes
        separators = 0
        for separator in _SEPARATORS:
            separators |= row.mask(separator)
        self._stops = row.ends | separators
        self._root = row.starts & 1
        folder_end = 1 << len(texts[0])
        #: Words name paths in the folder, so they continue behind its end.
        self._folder_end = 0 if folder == "." else folder_end
        self._begins = (row.starts ^ self._root) | separators | row.mask_of(glued)
        if folder == ".":
            self._stops ^= folder_end

    def match_any(self, pattern: str) -> bool:
        """Return whether at least one path matches, as `paths.Paths` does. Raises `wildcards.TooMuchWork`."""
        row, pattern = self._texts, _fold(pattern)
        if "/" not in pattern and pattern != "**":
            begins = self._slashes | self._begins
            return bool(row.step(pattern, begins << 1, self._names) & self._stops)
        reached = 0
        #: Where a path may begin: its first name is behind each of these places.
        begins = self._root if self._folder_end else self._root | self._begins
        for name in pattern.split("/"):
            row.charge(4)
            if name == "**":
                reached = row.spread(reached | begins, row.inside)
                if reached & self._folder_end:
                    begins |= self._begins
                    reached |= row.spread(begins, row.inside)
                reached &= self._slashes | self._stops
            else:
                start = (reached & self._slashes) | begins
                reached = row.step(name, start << 1, self._names) & (self._slashes | self._stops)
                begins = self._begins if reached & self._folder_end else 0
            if not reached and not begins:
                return False
        return bool(reached & self._stops)


def _simplify(word: str) -> str:
    """Return a word in lower case, without `./` and slashes that mean nothing."""
    text = _REPEATED.sub("/", _fold(word))
    return _TRAILING.sub("", _CURRENT_FOLDER.sub(r"\1", _END_OF_NAME.sub("", text)))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
