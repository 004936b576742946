"""How a chaos run starts a process of the service: `python -m codelab`, with edges to die at and planted bugs.

    CHAOS_EDGES   folder of the control files of `tests.chaos.edges`
    CHAOS_BUG     name of a bug of `tests.chaos.bugs`
    CHAOS_LEASE   seconds that a lease lasts, for tests that cannot wait for the real one
    CHAOS_CLOCK   seconds by which this process's clock is ahead

Without them this is `python -m codelab`.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path


def main() -> None:
    """Prepare the process, then start what the command line names."""
    from codelab.__main__ import main as start

    kind = sys.argv[1]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    if kind != "beat":
        _prepare(kind)
    start()


def _prepare(kind: str) -> None:
    import django

    if ahead := float(os.environ.get("CHAOS_CLOCK", "0")):
        _set_clock(ahead)
    django.setup()
    # Install the edges first: a bug lies inside what an edge surrounds, except the bug that needs a death in between.
    if edges := os.environ.get("CHAOS_EDGES"):
        from tests.chaos.edges import install

        install(kind, Path(edges))
    if bug := os.environ.get("CHAOS_BUG"):
        from tests.chaos.bugs import BUGS

        BUGS[bug]()
    lease = float(os.environ.get("CHAOS_LEASE", "0"))
    if lease and kind == "worker":
        from sessions.turns import attempts
        from sessions.worker import heartbeat

        attempts.LEASE_DURATION = timedelta(seconds=lease)
        heartbeat.INTERVAL_SECONDS = lease / 4


def _set_clock(ahead: float) -> None:
    """Let the wall clock of this process be wrong. Its monotonic clock, and those of all servers, are right."""
    from django.utils import timezone

    real = time.time
    time.time = lambda: real() + ahead
    timezone.now = lambda: datetime.fromtimestamp(time.time(), UTC)


if __name__ == "__main__":
    main()
