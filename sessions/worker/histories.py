"""Conversations as this worker has read them, so that the next step of a session reads only what is new.

A step asks its model with the whole conversation, and a turn has 20 to 50 steps. What a model has read does not change,
and messages are only added behind it: users edit and withdraw messages before a step has read them. Who replaces the
newest turn withdraws all of its messages, and so the last one that a worker can know. Nothing here is the truth: a
worker that keeps nothing reads everything, and so does one that does not find the last message it knows.
"""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sessions.worker.fitting import Entry

#: Tokens of all conversations that are kept, and what an object takes in memory beside its text: 15 to 30 MB in all.
MAX_TOKENS, TOKENS_OF_AN_OBJECT = 4_000_000, 250
#: Shorter conversations are read as fast.
MIN_MESSAGES = 16
#: Seconds after which a conversation that goes on no longer is dropped with the next one that is kept.
MAX_IDLE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _History:
    """The messages behind a summary, if there is one."""

    summary: uuid.UUID | None
    entries: Sequence[Entry]
    tokens: int
    kept_at: float = field(default_factory=time.monotonic)


#: By session. The one that was used last is the last.
_kept: OrderedDict[uuid.UUID, _History] = OrderedDict()
_tokens = 0
_lock = threading.Lock()


def take(session_id: uuid.UUID, summary: uuid.UUID | None) -> Sequence[Entry]:
    """Return what is kept of a session behind a summary, and keep it no longer. Empty: nothing is."""
    with _lock:
        found = _remove(session_id)
    return found.entries if found and found.summary == summary else ()


def keep(session_id: uuid.UUID, summary: uuid.UUID | None, entries: Sequence[Entry]) -> None:
    """Keep the conversation of a session behind a summary. Those that were used the longest time ago make room."""
    global _tokens  # noqa: PLW0603 (of the process, like what it counts)
    new = _History(summary, entries, sum(entry.tokens + TOKENS_OF_AN_OBJECT for entry in entries))
    with _lock:
        _remove(session_id)
        if len(entries) >= MIN_MESSAGES:
            _kept[session_id] = new
            _tokens += new.tokens
        while _kept and (_tokens > MAX_TOKENS or _is_idle(next(iter(_kept.values())))):
            _remove(next(iter(_kept)))


def forget() -> None:
    """Keep nothing."""
    with _lock:
        for session_id in list(_kept):
            _remove(session_id)


def _is_idle(history: _History) -> bool:
    return time.monotonic() - history.kept_at > MAX_IDLE_SECONDS


def _remove(session_id: uuid.UUID) -> _History | None:
    global _tokens  # noqa: PLW0603 (of the process, like what it counts)
    found = _kept.pop(session_id, None)
    if found:
        _tokens -= found.tokens
    return found
