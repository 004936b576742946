"""What happened in a run, in the order in which this process saw it: one JSON line for each thing.

Every record has `t`, seconds of the monotonic clock, and `what`:

    opened, closed      a socket of a follower: `socket`, `follower`, `session`, `kind` (v2, v1, sse), `after`, `web`
    sent, acked         a user's message: `session`, `id` (client_message_id), `text`; then `turn`, `message`, `number`
    edited              a message may have another text from here on: `id`, `text`
    refused             an error frame that refused something: `socket`, `code`
    received            an event at a client: `socket`, `session`, `number`, `kind`, `payload`; `first` if compacted
    behind              a follower that lacks an event another one of its session has: `session`, `has`, `lacks`
    cancel              a request to stop: `socket`, `session`, `turn`
    tool                the client ran a tool call: `session`, `call`, `turn_number`, `step`
    began, ended        a fault: `fault` (its number), `kind`, and what it hit
    up, died            a process: `process`, `pid`; the `edge` it was killed at, `turns` it ran, with attempts
    taken_over          a `turn` of a frozen worker was started elsewhere
    quiet               the last fault is over
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

type Record = dict[str, Any]


class History:
    """Keeps the records of a run in memory and, given a path, in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.records: list[Record] = []
        self._file = path.open("w", encoding="utf-8", buffering=1 << 16) if path else None

    def add(self, what: str, **facts: Any) -> Record:
        """Record something that happened just now."""
        record = {"t": round(time.monotonic(), 4), "what": what, **facts}
        self.records.append(record)
        if self._file:
            self._file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
        return record

    def close(self) -> None:
        """Write what is still in memory."""
        if self._file:
            self._file.close()
            self._file = None
