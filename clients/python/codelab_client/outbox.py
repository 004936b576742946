"""Frames whose outcome is not known yet. They are sent again on each new socket until the server has answered them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass

from codelab_client.connection import ANSWER_SECONDS, PASSING_CODES, encode, error_of
from codelab_client.errors import CodelabError
from codelab_client.events import Json

#: The server takes no larger frame, and does not say which one was too large.
MAX_FRAME_BYTES = 256 * 1024

#: What a frame is told that had been stored before its answer was lost.
DONE_CODES = frozenset({"tool_call_finished", "approval_decided", "message_begun", "nothing_to_cancel"})
RETRY_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Entry:
    frame: Json
    answer: asyncio.Future[Json]
    #: How often it was sent.
    tries: int = 0


class Outbox:
    """Sends frames until they are answered."""

    def __init__(self, send: Callable[[Json], None], drop: Callable[[], None]) -> None:
        #: Sends a frame on the socket; opens another socket instead of one that does not answer.
        self._send_frame, self._drop = send, drop
        self._entries: dict[str, _Entry] = {}
        self._refs = itertools.count(1)
        self.is_open = False

    async def deliver(self, frame: Json) -> Json:
        """Return the server's answer to a frame. Raises CodelabError when it is refused."""
        entry = _Entry(_clean(frame) | {"ref": str(next(self._refs))}, asyncio.get_running_loop().create_future())
        size = len(encode(entry.frame).encode())
        if size > MAX_FRAME_BYTES:
            limit = MAX_FRAME_BYTES // 1024
            raise CodelabError("frame_too_large", f"The frame has {size:,} bytes; at most {limit} KiB are allowed.")
        self._entries[entry.frame["ref"]] = entry
        self._send(entry)
        try:
            return await entry.answer
        finally:
            self._entries.pop(entry.frame["ref"], None)

    def open(self) -> None:
        """Send everything again: there is a new socket."""
        self.is_open = True
        for entry in list(self._entries.values()):
            self._send(entry)

    def close(self) -> None:
        """Wait for the next socket."""
        self.is_open = False

    def fail(self, error: Exception) -> None:
        """Give up: no socket will come."""
        for entry in self._entries.values():
            if not entry.answer.done():
                entry.answer.set_exception(error)

    def take(self, frame: Json) -> None:
        """Handle an answer, which has the `ref` of its frame."""
        entry = self._entries.get(frame.get("ref", ""))
        if entry is None or entry.answer.done():
            return
        if frame["type"] != "error":
            entry.answer.set_result(frame)
            return
        code = frame["error_code"]
        if code in PASSING_CODES:
            delay = frame.get("retry_after") or RETRY_SECONDS
            asyncio.get_running_loop().call_later(delay, self._send, entry)
        elif code in DONE_CODES and entry.tries > 1:
            entry.answer.set_result(frame)
        else:
            entry.answer.set_exception(error_of(frame))

    def _send(self, entry: _Entry) -> None:
        if not self.is_open or entry.answer.done():
            return
        entry.tries += 1
        self._send_frame(entry.frame)
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._expect, entry, entry.tries)

    def _expect(self, entry: _Entry, tries: int) -> None:
        """Open another socket if this one has not answered in time."""
        if self.is_open and not entry.answer.done() and entry.tries == tries:
            self._drop()


def _clean(value: Json) -> Json:
    """Return a frame that the server can read: without halves of surrogate pairs. Raises ValueError for NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isascii():
        return value
    cleaned: Json = json.loads(text.encode("utf-8", "replace"))
    return cleaned
