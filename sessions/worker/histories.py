"""Conversations of open turns, as this worker has read them: the next step of a turn reads only what is new.

A turn asks its model 20 to 50 times, each time with its whole conversation. While the turn is open, nothing changes in
what one of its steps has read, and messages are only added behind it: users edit, withdraw and replace messages before
a step has read them, or after the turn. Nothing here is the truth. A worker that keeps nothing reads everything, and so
does one that no longer finds the last message it knows.
"""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Sequence

from sessions.worker.fitting import Entry

#: Tokens of all conversations that are kept, and what an object takes in memory beside its text: 20 to 40 MB in all.
MAX_TOKENS, TOKENS_OF_AN_OBJECT = 5_000_000, 250
#: Shorter conversations are read as fast.
MIN_MESSAGES = 50

#: By turn: the summary at the beginning, if any, and the messages behind it. The one that was used last is the last.
_kept: OrderedDict[uuid.UUID, tuple[uuid.UUID | None, Sequence[Entry]]] = OrderedDict()
_tokens = 0
_lock = threading.Lock()


def take(turn_id: uuid.UUID, summary: uuid.UUID | None) -> Sequence[Entry]:
    """Return what is kept of the conversation of a turn behind a summary, and keep it no longer. Empty: nothing is."""
    found = _remove(turn_id)
    return found[1] if found and found[0] == summary else ()


def keep(turn_id: uuid.UUID, summary: uuid.UUID | None, entries: Sequence[Entry]) -> None:
    """Keep the conversation of a turn behind a summary, and forget the ones that were used the longest time ago."""
    global _tokens  # noqa: PLW0603 (of the process, like what it counts)
    forget(turn_id)
    if len(entries) < MIN_MESSAGES:
        return
    with _lock:
        _kept[turn_id] = summary, entries
        _tokens += _size(entries)
        oldest = iter(list(_kept))
    while _tokens > MAX_TOKENS:
        forget(next(oldest))


def forget(turn_id: uuid.UUID) -> None:
    """Keep nothing of a turn, which has ended."""
    _remove(turn_id)


def _remove(turn_id: uuid.UUID) -> tuple[uuid.UUID | None, Sequence[Entry]] | None:
    global _tokens  # noqa: PLW0603 (of the process, like what it counts)
    with _lock:
        found = _kept.pop(turn_id, None)
        if found:
            _tokens -= _size(found[1])
    return found


def _size(entries: Sequence[Entry]) -> int:
    return sum(entry.tokens + TOKENS_OF_AN_OBJECT for entry in entries)
