"""A minute of `make chaos`: it checks every promise; the times are too few to mean much."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.chaos import campaign, report
from tests.live.service import restore_template

pytestmark = pytest.mark.live

#: A busy machine takes longer to kill a process at an edge of the journal: the run goes on until one was killed there.
LEAST_SECONDS, MOST_SECONDS = 65.0, 200.0
VOLUMES = campaign.Volumes(faults=1, reconnects=1, edges=1, takeovers=0)


async def test_no_promise_is_broken_in_a_short_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    outcome = await campaign.run(
        tmp_path,
        seed=seed,
        size=8,
        pace=0.4,
        volumes=VOLUMES,
        at_least=LEAST_SECONDS,
        at_most=MOST_SECONDS,
        fill=restore_template,
    )
    lines = report.rows(outcome)
    told = f"SEED={seed} {tmp_path}\n{report.table(lines)}\n" + "\n".join(map(str, outcome.violations))
    assert not [row.name for row in lines if row.promise and row.holds is False], told
    had = campaign.progress_of(outcome).figures()
    assert all(had[name][0] > 0 for name in ("faults", "reconnects", "edges")), told
