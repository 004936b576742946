"""Reads the arguments of a tool call, which arrive in pieces."""

import json
import re
from dataclasses import dataclass, field

_MARK_PATTERN = re.compile(r'\\.|["{}\[\]]', re.DOTALL)


@dataclass(slots=True)
class Arguments:
    """The text of a call's arguments, and whether it is one whole JSON object. Reads each character once."""

    pieces: list[str] = field(default_factory=list)
    depth: int = 0
    is_whole: bool = False
    _is_text: bool = False
    _is_escaped: bool = False
    #: Whether more came behind the whole object. It is not compared again, because that takes time.
    _is_spoiled: bool = False
    _normal: str | None = None

    def append(self, piece: str) -> None:
        self.pieces.append(piece)
        self._is_spoiled |= self.is_whole
        if self._is_escaped:
            piece, self._is_escaped = piece[1:], False
        end = 0
        for mark in _MARK_PATTERN.finditer(piece):
            end = mark.end()
            character = mark[0]
            if character == '"':
                self._is_text = not self._is_text
                # Some encode the object twice, as a text.
                self.is_whole = self.depth == 0 and not self._is_text
            elif not self._is_text and len(character) == 1:
                self.depth += 1 if character in "{[" else -1
                self.is_whole = self.depth == 0
        self._is_escaped = self._is_text and piece.endswith("\\", end)

    @property
    def is_open(self) -> bool:
        return bool(self.pieces) and not self.is_whole

    @property
    def normal(self) -> str:
        """Return the arguments in their normal form, or an empty text if they are not one whole JSON value."""
        if self._is_spoiled or not self.is_whole:
            return ""
        if self._normal is None:
            self._normal = normalize("".join(self.pieces))
        return self._normal


def normalize(text: str) -> str:
    """Return JSON in a form that is the same for the same value, or an empty text for what is not JSON."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return ""
