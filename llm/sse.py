"""Parses server-sent events from bytes as they arrive, and the JSON that some servers send in their place.

Servers leave out the empty line between events, or the word `data:` before JSON. Both are read, because such an event
would otherwise be lost without a word. What the events say is `llm.wire.answers`' part.
"""

import json
from typing import Any

from pydantic_core import from_json

from llm.sizes import MAX_EVENT_BYTES

#: How often the data of one event are parsed to find out whether they are whole. Each time takes as long as they are.
MAX_TRIALS = 8

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DONE = b"[DONE]"


class EventTooLongError(Exception):
    """The server sends an event without an end."""


class ErrorEvent(bytes):
    """The data of an event that the server itself calls an error."""


class EventReader:
    """Reads one stream."""

    def __init__(self) -> None:
        #: The beginning of a line whose end has not arrived. It grows in place.
        self._line = bytearray()
        self._ends_with_return = False
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._is_error = False
        #: Whether the data are lines of JSON without a field name.
        self._is_bare = False
        self._trials = 0

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

    def finish(self) -> list[bytes]:
        """Return the data of an event whose empty line is missing at the end of a stream that was not broken off."""
        events: list[bytes] = []
        self._end_line(bytes(self._line), events)
        self._line.clear()
        self._dispatch(events)
        return events

    def _end_line(self, text: bytes, events: list[bytes]) -> None:
        if not text:
            self._dispatch(events)
        elif text.startswith(b"data:"):
            if self._data:
                self._end_unmarked(events)
            data = text[6:] if text.startswith(b"data: ") else text[5:]
            self._add(data)
            if data == DONE:
                # A server that keeps the connection open may never send the empty line.
                self._dispatch(events)
        else:
            self._end_other_line(text, events)

    def _end_other_line(self, text: bytes, events: list[bytes]) -> None:
        stripped = text.removeprefix(BYTE_ORDER_MARK).lstrip()
        name, _, value = stripped.partition(b":")
        if stripped.startswith(b"data:"):
            self._end_line(stripped, events)
        elif name == b"event":
            self._end_unmarked(events)
            self._is_error = b"error" in value.lower()
        elif name == b"error":
            # llama.cpp has sent errors as a field of their own.
            self._end_unmarked(events)
            self._is_error = True
            self._add(value.strip())
        elif self._is_bare:
            self._add(text)
            if text[:1] in (b"]", b"}") and self._is_complete():
                self._dispatch(events)
        elif stripped.startswith((b"{", b"[")):
            self._end_unmarked(events)
            self._add(stripped)
            self._is_bare = True
            if stripped.endswith((b"]", b"}")) and self._is_complete():
                self._dispatch(events)
        # Other fields and comments are irrelevant to the answer.

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._data_bytes += len(data) + 1

    def _end_unmarked(self, events: list[bytes]) -> None:
        """End an event that is complete, though no empty line follows it. One event may also have several lines."""
        if self._is_bare or (len(self._data) == 1 and self._is_complete()):
            self._dispatch(events)

    def _is_complete(self) -> bool:
        """Return whether the data so far are whole JSON."""
        self._trials += 1
        return self._trials <= MAX_TRIALS and _is_json(b"\n".join(self._data))

    def _dispatch(self, events: list[bytes]) -> None:
        if self._data:
            data = b"\n".join(self._data)
            events.append(ErrorEvent(data) if self._is_error else data)
            self._data, self._data_bytes, self._trials = [], 0, 0
        self._is_error = self._is_bare = False


def parse_json(data: bytes) -> Any:
    """Parse the data of an event, also with bytes that are not UTF-8, half a surrogate pair, or tabs in texts.

    Raises ValueError, and RecursionError.
    """
    try:
        return from_json(data)
    except ValueError:
        # Python's own parser reads more, and takes three times as long.
        return json.loads(data.removeprefix(BYTE_ORDER_MARK).decode(errors="replace"), strict=False)


def _is_json(data: bytes) -> bool:
    try:
        parse_json(data)
    except (ValueError, RecursionError):
        return False
    return True
