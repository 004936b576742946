"""Parses server-sent events from bytes as they arrive."""

from llm.sizes import MAX_EVENT_BYTES


class EventTooLongError(Exception):
    """The server sends an event without an end."""


class EventReader:
    """Reads one stream. As the standard says, an event that the end of the stream cuts off does not count."""

    def __init__(self) -> None:
        #: The beginning of a line whose end has not arrived. It grows in place.
        self._line = bytearray()
        self._ends_with_return = False
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Add a piece and return the data of the events that are complete now. Raises EventTooLongError."""
        if self._ends_with_return and piece.startswith(b"\n"):
            # The second half of \r\n. The first one has ended the line.
            piece = piece[1:]
            self._ends_with_return = False
        if not piece:
            return []
        self._ends_with_return = piece.endswith(b"\r")
        events: list[bytes] = []
        for line in piece.splitlines(keepends=True):
            text = line.rstrip(b"\r\n")
            if len(self._line) + len(text) + self._data_bytes > MAX_EVENT_BYTES:
                raise EventTooLongError
            if len(text) == len(line):
                self._line += text
                break
            if self._line:
                text = bytes(self._line + text)
                self._line.clear()
            self._end_line(text, events)
        return events

    def _end_line(self, text: bytes, events: list[bytes]) -> None:
        if not text:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data, self._data_bytes = [], 0
        elif text.startswith(b"data:"):
            data = text[6:] if text.startswith(b"data: ") else text[5:]
            self._data.append(data)
            self._data_bytes += len(data) + 1
        # Other fields and comments are irrelevant to the answer.
