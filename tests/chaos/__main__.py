"""`make chaos`: harm the service until enough has happened, then report the result.

It prints the seed first. The same seed causes the same faults in the same order, but not at the same millisecond. The
history, the contents of the tables and all logs stay in the folder that it prints. Exit code 1 means that a promise was
broken, 2 that an edge was never reached.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import campaign, report

#: Minutes after which an incomplete run ends; three times what a run takes on two cores.
MAX_MINUTES = 40.0


def main() -> int:
    """Run, print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0, help="run for so long, instead of until all is reached")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--size", type=int, default=24, help="sessions at a time")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a new one by default")
    wish = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if wish.seed is None else wish.seed
    folder = wish.folder or Path(tempfile.mkdtemp(prefix="codelab-chaos-"))
    print(f"SEED={seed}  everything is written to {folder}", flush=True)
    # Servers that run as another user must be able to enter.
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    clock = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - clock:6.0f}] {line}", flush=True)

    outcome = asyncio.run(
        campaign.run(
            folder,
            seed=seed,
            size=wish.size,
            volumes=None if wish.minutes else campaign.Volumes(),
            at_most=(wish.minutes or MAX_MINUTES) * 60,
            say=say,
        )
    )
    lines = report.rows(outcome)
    text = report.table(lines)
    violations = "\n".join(str(violation) for violation in outcome.violations)
    (folder / "report.txt").write_text(f"SEED={seed}\n{text}\n\n{violations}\n", encoding="utf-8")
    print(f"\nSEED={seed}, {outcome.seconds / 60:.1f} minutes\n{text}")
    for violation in outcome.violations[:20]:
        print(violation)
    print(f"\nhistory.jsonl, dump.json, report.txt and logs are in {folder}")
    if any(row.promise and row.holds is False for row in lines):
        return 1
    return 2 if any(row.name == "edges never reached" and row.holds is False for row in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
