"""Measures processor time, which other programs on the machine do not change much."""

from __future__ import annotations

import time
from collections.abc import Callable


def cpu_seconds(function: Callable[[], object]) -> float:
    """Return the least processor time of three runs: the garbage of other tests is collected in one of them."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return min(seconds)
