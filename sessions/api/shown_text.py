"""What a socket without `codelab.v2` was sent of an unfinished message, and long texts in parts. Pure.

The original's clients print or join every `token`. So the pieces of a message are its text, once, and frames that
repeat the text have it in `content` alone.
"""

from collections.abc import Iterator

from pydantic_core import to_json

#: Bytes of text in one frame. The original's benchmark client closes its socket at a frame of 1 MiB.
MAX_TEXT_BYTES = 900_000
#: JSON writes a control character as an escape.
_MAX_CHARACTER_BYTES = 6


class ShownText:
    """The pieces of the message that is being written, as one socket was sent them."""

    def __init__(self) -> None:
        # The events of all sockets of a process share the texts.
        self._pieces: list[str] = []
        self._message_id = self._repeated_id = ""

    def add(self, message_id: str, text: str) -> None:
        """Note a piece that is sent."""
        if message_id != self._message_id:
            self._clear()
            self._message_id = message_id
        self._pieces.append(text)

    def hold_back(self, message_id: str) -> None:
        """Note that another worker writes the message again, and that its pieces are not sent."""
        self._repeated_id = message_id

    def rest(self, message_id: str, text: str) -> str:
        """Return what was held back of a message that is complete now, and forget it.

        A client cannot retract what it has printed. Most often the other worker's text begins in the same way.
        """
        shown, is_held_back = "".join(self._pieces), message_id == self._repeated_id
        self._clear()
        return text.removeprefix(shown) if is_held_back else ""

    def _clear(self) -> None:
        self._pieces, self._message_id, self._repeated_id = [], "", ""


def split_text(text: str, max_bytes: int = MAX_TEXT_BYTES) -> Iterator[str]:
    """Yield a text in parts that take at most so many bytes in a frame; a short one and an empty one as they are."""
    if len(text) * _MAX_CHARACTER_BYTES <= max_bytes or len(to_json(text)) <= max_bytes:
        yield text
        return
    middle = len(text) // 2
    # Between two lines, where there are any: the original's editor makes a bubble of each part.
    middle = text.rfind("\n", middle // 2, middle) + 1 or middle
    yield from split_text(text[:middle], max_bytes)
    yield from split_text(text[middle:], max_bytes)
