"""Runs the parts of a clean-up one after the other. No part may end, starve or delay the others."""

import time
from collections.abc import Callable, Mapping

import structlog

from sessions.database import describe

logger = structlog.get_logger(__name__)

#: Works until it has nothing left to do or `time.monotonic` passes the deadline. Returns how many rows it removed.
type Part = Callable[[float], int]


def run_parts(parts: Mapping[str, Part], *, seconds: float) -> None:
    """Run each part, whatever an earlier one raised. A part may use its share of the time that is left."""
    end = time.monotonic() + seconds
    for waiting, (name, part) in zip(range(len(parts), 0, -1), parts.items(), strict=True):
        started = time.monotonic()
        try:
            removed = part(started + max(end - started, 0.0) / waiting)
        except Exception as error:
            logger.warning("upkeep_failed", part=name, **describe(error))
        else:
            if removed:
                logger.info("upkeep_done", part=name, rows=removed, seconds=round(time.monotonic() - started, 3))
