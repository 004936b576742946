"""Where a process can be killed: before, inside and after each change that is written to the journal.

The service does not contain any of this. `install` wraps its functions in a process of a chaos run. A process that
passes an armed edge removes the edge's file, which claims the edge for it alone, and kills itself. The file of an edge
that no process has passed remains.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

PHASES = ("before", "inside", "after")
#: Each is a transaction; "inside" is when everything is written and nothing is committed.
TRANSACTIONS = {
    "web": ("accept_message", "record_tool_result", "cancel"),
    "worker": ("claim", "append_all", "request_tools", "complete", "put_off", "recover"),
}
#: Messages published after a commit, which may be lost.
HINTS = {
    "web": ("enqueue_turn.before", "enqueue_turn.after", "publish.before"),
    "worker": ("enqueue_turn.before", "publish.before"),
}


def all_edges() -> list[str]:
    """Return the names of all edges: `worker.complete.inside`."""
    return [
        f"{kind}.{edge}"
        for kind, verbs in TRANSACTIONS.items()
        for edge in (*(f"{verb}.{phase}" for verb in verbs for phase in PHASES), *HINTS[kind])
    ]


class Armed:
    """The control files of a run, as the nemesis sees them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("armed", "reached"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def arm(self, edge: str) -> None:
        """Let the next process that passes the edge die there."""
        (self.folder / "armed" / edge).touch()

    def disarm(self, edge: str) -> None:
        """Disarm the edge, unless a process has already claimed it."""
        (self.folder / "armed" / edge).unlink(missing_ok=True)

    def times_reached(self, edge: str) -> int:
        """Return how many processes have died at an edge."""
        return len(list((self.folder / "reached").glob(f"{edge}@*")))

    def reached_by(self, pid: int) -> str | None:
        """Return the edge at which a process has died, or None."""
        found = next((self.folder / "reached").glob(f"*@{pid}"), None)
        return found.name.partition("@")[0] if found else None


_here = threading.local()


def install(kind: str, folder: Path) -> None:
    """Make this process die at armed edges. Call it before other modules import the wrapped functions by name."""
    early = [
        name
        for name in ("sessions.api.commands", "sessions.api.websocket.consumers", "sessions.worker.runner")
        if name in sys.modules
    ]
    assert not early, f"{early} have imported the functions already"
    from sessions import broker
    from sessions.events import hub, log
    from sessions.turns import attempts, inbox, recovery, retries, tool_calls

    def passing(edge: str) -> None:
        try:
            (folder / "armed" / f"{kind}.{edge}").rename(folder / "reached" / f"{kind}.{edge}@{os.getpid()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    homes: Iterable[tuple[ModuleType, str]] = (
        (inbox, "accept_message"),
        (tool_calls, "record_tool_result"),
        (tool_calls, "request_tools"),
        (attempts, "cancel"),
        (attempts, "claim"),
        (attempts, "complete"),
        (retries, "put_off"),
        (recovery, "recover"),
        (log, "append_all"),
    )
    for module, name in homes:
        setattr(module, name, _around(getattr(module, name), name, passing))
    # The last write of the transactions above, called through the module.
    vars(log)["_write"] = _then(log._write, passing)
    publish = hub.publish_events

    async def publish_unless_killed(events: Any) -> None:
        passing("publish.before")
        await publish(events)

    hub.publish_events = publish_unless_killed
    enqueue = broker.enqueue_turn_soon

    async def enqueue_unless_killed(turn_id: Any) -> None:
        if turn_id:
            passing("enqueue_turn.before")
        await enqueue(turn_id)
        if turn_id:
            passing("enqueue_turn.after")

    broker.enqueue_turn_soon = enqueue_unless_killed


def _around[**P, R](function: Callable[P, R], name: str, passing: Callable[[str], None]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        passing(f"{name}.before")
        _here.verb = name
        try:
            result = function(*args, **kwargs)
        finally:
            _here.verb = None
        passing(f"{name}.after")
        return result

    return wrapped


def _then[**P, R](function: Callable[P, R], passing: Callable[[str], None]) -> Callable[P, R]:
    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        if verb := getattr(_here, "verb", None):
            passing(f"{verb}.inside")
        return result

    return wrapped
