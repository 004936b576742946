"""The watchdog logs and measures a blocked event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from sessions.watchdog import Watchdog


def spin() -> None:
    end = time.thread_time() + 0.6
    while time.thread_time() < end:
        pass


def sleep() -> None:
    time.sleep(0.6)


async def block(blocker: Callable[[], None]) -> list[Any]:
    with capture_logs() as lines:
        watchdog = Watchdog(asyncio.get_running_loop())
        await asyncio.sleep(0.15)
        blocker()
        await asyncio.sleep(0.3)
        watchdog.stop()
    return lines


async def test_a_busy_loop_is_logged_with_its_stack_and_its_processor_time() -> None:
    seen, ended = await block(spin)
    assert seen["event"] == "event_loop_blocked"
    assert "spin" in seen["stack"][-1]
    assert ended["event"] == "event_loop_was_blocked"
    assert ended["seconds"] >= 0.45
    assert ended["cpu_seconds"] >= 0.45


async def test_a_loop_that_waits_is_logged_with_little_processor_time() -> None:
    seen, ended = await block(sleep)
    assert "sleep" in seen["stack"][-1]
    assert ended["seconds"] >= 0.45
    assert ended["cpu_seconds"] < 0.25


async def test_a_free_loop_is_not_logged() -> None:
    # A machine that is busy with other processes delays a loop, too, but that costs no processor time.
    assert [line for line in await block(lambda: None) if line.get("cpu_seconds", 0) > 0.25] == []
