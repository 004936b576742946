"""How a chaos run starts a process of the service: `python -m codelab`, with edges to die at and planted bugs.

    CHAOS_EDGES   folder of the control files of `tests.chaos.edges`
    CHAOS_BUG     name of a bug of `tests.chaos.bugs`
    CHAOS_LEASE   seconds that a lease lasts, for tests that cannot wait for the real one; the rest in proportion

Without them this is `python -m codelab`.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path


def main() -> None:
    """Prepare the process, then start what the command line names."""
    from codelab.__main__ import main as start

    kind = sys.argv[1]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    lease = float(os.environ.get("CHAOS_LEASE", "0"))
    if kind == "beat":
        if lease:
            import celeryconfig

            celeryconfig.beat_schedule["sweep"]["schedule"] = 1.0
    else:
        _prepare(kind, lease)
    start()


def _prepare(kind: str, lease: float) -> None:
    import django

    django.setup()
    # The outermost first: a bug lies inside what an edge surrounds, except one that is about being killed in between.
    if edges := os.environ.get("CHAOS_EDGES"):
        from tests.chaos.edges import install

        install(kind, Path(edges))
    if bug := os.environ.get("CHAOS_BUG"):
        from tests.chaos.bugs import BUGS

        BUGS[bug]()
    if lease:
        from sessions import lifecycle, recovery

        lifecycle.LEASE = timedelta(seconds=lease)
        recovery.HINT_PATIENCE = timedelta(seconds=lease)
        if kind == "worker":
            from sessions import worker

            worker.HEARTBEAT = lease / 4


if __name__ == "__main__":
    main()
