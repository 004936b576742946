"""Parses server-sent events from bytes as they arrive."""

#: Far more than a complete tool call. Stops a server that sends no line ends.
MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLongError(Exception):
    """The server sends an event without an end."""


class EventReader:
    """Reads one stream. As the standard says, an event that the end of the stream cuts off does not count."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Add a piece and return the data of the events that are complete now. Raises EventTooLongError."""
        events: list[bytes] = []
        rest = self._rest + piece
        *lines, last = rest.splitlines(keepends=True) or (b"",)
        # A trailing \r may be the first half of \r\n.
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
            # Other fields and comments are irrelevant to the answer.
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise EventTooLongError
        return events
