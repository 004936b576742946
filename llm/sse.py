"""Server-sent events, read: bytes as they arrive in, the data of whole events out."""

from __future__ import annotations

#: Bytes that one event may have. A whole tool call in one piece is far below it; a server without line ends is not.
LONGEST_EVENT = 8 * 1024 * 1024


class EventTooLongError(Exception):
    """The server sends an event without an end."""


class Events:
    """Reads one stream. An event that the end of the stream cuts off is none, as the standard says."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Take what arrived and return the data of the events that are complete now. Raises EventTooLongError."""
        events: list[bytes] = []
        rest = self._rest + piece
        *lines, last = rest.splitlines(keepends=True) or (b"",)
        # A line that ends with \r may be one that ends with \r\n.
        if last.endswith(b"\n"):
            lines.append(last)
            last = b""
        self._rest = last
        for line in lines:
            text = line.rstrip(b"\r\n")
            if not text:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
            elif text.startswith(b"data:"):
                self._data.append(text[6:] if text.startswith(b"data: ") else text[5:])
            # All other fields, and comments, say nothing about the answer.
        if len(self._rest) + sum(map(len, self._data)) > LONGEST_EVENT:
            raise EventTooLongError
        return events
