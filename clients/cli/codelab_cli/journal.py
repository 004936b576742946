"""The journal of tool calls: a call runs at most once, even when the client is killed between running and telling.

That a call begins is on disk before it runs, and what came of it before it is told. A call that is found begun without
an outcome is `unknown`: it may have run, so it does not run again. One process at a time has a journal, by a lock on a
file that ends with the process.
"""

import hashlib
import json
import shutil
import sqlite3
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout
from platformdirs import user_state_path

from codelab_cli.outcome import Outcome

#: The server waits 24 hours for a result, so older calls cannot come again.
MAX_AGE_SECONDS = 7 * 86_400
MAX_CALLS = 2_000
MAX_OUTCOME_BYTES = 64 * 2**20
#: Journals of sessions that were not used for so long are removed.
MAX_IDLE_SECONDS = 30 * 86_400

_TABLES = """
CREATE TABLE IF NOT EXISTS calls (
    turn_id TEXT NOT NULL, call_id TEXT NOT NULL, fingerprint TEXT NOT NULL, name TEXT NOT NULL,
    began_at REAL NOT NULL, outcome TEXT, PRIMARY KEY (turn_id, call_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_by_age ON calls (began_at);
CREATE TABLE IF NOT EXISTS client (client_id TEXT NOT NULL);
"""


class JournalBusy(Exception):
    """Another process has the journal; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the server asks for it. Ids of calls are unique in a session, with `turn_id` everywhere."""

    call_id: str
    name: str
    arguments: dict[str, Any]
    turn_id: str = ""

    @property
    def fingerprint(self) -> str:
        """Return a hash of what the call does."""
        text = json.dumps([self.name, self.arguments], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """The calls of one client in one session and workspace."""

    def __init__(self, folder: Path, *, wait_seconds: float = 0.0) -> None:
        """Open the journal in a folder, which is created. Raises JournalBusy when another process keeps it."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = FileLock(folder / "lock", timeout=wait_seconds, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise JournalBusy(
                "Another client runs the tools of this session in this folder. Close it, or use another session."
            ) from None
        # Tools run in threads.
        self._mutex = threading.Lock()
        self._database = sqlite3.connect(folder / "calls.sqlite", check_same_thread=False, isolation_level=None)
        # Each commit is on disk, the folder's entry included, before the next line runs.
        self._database.execute("PRAGMA synchronous = EXTRA")
        self._database.executescript(_TABLES)
        self.client_id = self._find_client_id()
        self._clean_up()

    @classmethod
    def of_session(cls, server: str, session: str, root: Path, *, wait_seconds: float = 0.0) -> Self:
        """Open the journal of a session in a workspace, in the user's folder for state."""
        names = "\n".join((server, session, str(root.resolve())))
        parent = user_state_path("codelab") / "journals"
        journal = cls(parent / hashlib.sha256(names.encode()).hexdigest()[:32], wait_seconds=wait_seconds)
        _remove_idle(parent, keep=journal.folder)
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the journal."""
        with self._mutex:
            self._database.close()
        self._lock.release()

    def begin(self, call: Call) -> Outcome | None:
        """Record that a call begins; or return the outcome that it has, and then it must not run."""
        with self._mutex:
            row = self._database.execute(
                "SELECT fingerprint, outcome FROM calls WHERE turn_id = ? AND call_id = ?", (call.turn_id, call.call_id)
            ).fetchone()
            if row is None:
                self._database.execute(
                    "INSERT INTO calls VALUES (?, ?, ?, ?, ?, NULL)",
                    (call.turn_id, call.call_id, call.fingerprint, call.name, time.time()),
                )
                return None
        fingerprint, stored = row
        if fingerprint != call.fingerprint:
            text = f"Another call with the id {call.call_id} has run already, so this one was not run."
            return Outcome(error=text, is_error=True)
        if stored is not None:
            return _read(stored)
        outcome = unknown(call.name)
        self.finish(call, outcome)
        return outcome

    def finish(self, call: Call, outcome: Outcome) -> None:
        """Record what came of a call."""
        fields = [outcome.result, outcome.parts, outcome.error, outcome.is_error, outcome.is_unknown]
        with self._mutex:
            self._database.execute(
                "UPDATE calls SET outcome = ? WHERE turn_id = ? AND call_id = ?",
                (json.dumps(fields), call.turn_id, call.call_id),
            )

    def _find_client_id(self) -> str:
        """Return the id by which the server gives this client its open calls again."""
        row = self._database.execute("SELECT client_id FROM client").fetchone()
        if row is not None:
            return str(row[0])
        client_id = f"codelab-cli-{uuid.uuid4().hex}"
        self._database.execute("INSERT INTO client VALUES (?)", (client_id,))
        return client_id

    def _clean_up(self) -> None:
        """Remove old calls, and the oldest ones when all are too many or too large."""
        self._database.execute("DELETE FROM calls WHERE began_at < ?", (time.time() - MAX_AGE_SECONDS,))
        left = MAX_OUTCOME_BYTES
        rows = self._database.execute(
            "SELECT began_at, coalesce(length(outcome), 0) FROM calls ORDER BY began_at DESC"
        ).fetchall()
        for place, (began_at, size) in enumerate(rows):
            left -= size
            if place >= MAX_CALLS or left < 0:
                self._database.execute("DELETE FROM calls WHERE began_at <= ?", (began_at,))
                self._database.execute("VACUUM")
                return


def unknown(name: str) -> Outcome:
    """Return the outcome of a call whose client ended while it ran."""
    return Outcome(
        error=(
            f"unknown: the client ended while {name} ran. It may have had its whole effect, a part of it, or none. It"
            " was not run again. Look at the files before you go on."
        ),
        is_error=True,
        is_unknown=True,
    )


def _read(stored: str) -> Outcome:
    result, parts, error, is_error, is_unknown = json.loads(stored)
    return Outcome(
        result=result,
        parts=None if parts is None else tuple(parts),
        error=error,
        is_error=is_error,
        is_unknown=is_unknown,
    )


def _remove_idle(parent: Path, *, keep: Path) -> None:
    """Remove journals that were not used for a long time and that no process has."""
    for folder in parent.iterdir():
        with suppress(OSError, Timeout):
            if folder == keep or time.time() - (folder / "calls.sqlite").stat().st_mtime < MAX_IDLE_SECONDS:
                continue
            with FileLock(folder / "lock", timeout=0):
                shutil.rmtree(folder)
