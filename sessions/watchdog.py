"""Measures how long an event loop is blocked, because meanwhile every session of its process stands still.

A callback in the loop reports the time that it came too late. A thread logs the loop's stack while the block lasts.
"""

import asyncio
import sys
import threading
import time
import traceback

import structlog

from sessions import metrics

logger = structlog.get_logger(__name__)

#: Seconds between two callbacks in the loop, and between two looks of the thread.
TICK_INTERVAL_SECONDS = 0.1
#: A loop that is late by more than this is blocked.
MAX_BLOCK_SECONDS = 0.25
#: Innermost frames of the stack in the log line.
MAX_STACK_FRAMES = 12


class Watchdog:
    """Watches the event loop of the thread that creates it, until `stop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._thread_id = loop, threading.get_ident()
        self._ticked_at, self._cpu_seconds = time.monotonic(), time.thread_time()
        self._loop.call_later(TICK_INTERVAL_SECONDS, self._tick)
        self._is_stopped = False
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._is_stopped = True

    def _tick(self) -> None:
        late, cpu_seconds = self._late_seconds(), time.thread_time()
        if late > MAX_BLOCK_SECONDS:
            metrics.loop_block_time.observe(late)
            # With little processor time, the loop waited for something, or the machine was busy with other processes.
            spent = round(cpu_seconds - self._cpu_seconds, 3)
            logger.warning("event_loop_was_blocked", seconds=round(late, 3), cpu_seconds=spent)
        self._ticked_at, self._cpu_seconds = time.monotonic(), cpu_seconds
        if not self._is_stopped:
            self._loop.call_later(TICK_INTERVAL_SECONDS, self._tick)

    def _late_seconds(self) -> float:
        return time.monotonic() - self._ticked_at - TICK_INTERVAL_SECONDS

    def _look(self) -> None:
        logged_at = 0.0
        while not self._is_stopped:
            time.sleep(TICK_INTERVAL_SECONDS)
            ticked_at = self._ticked_at
            if self._late_seconds() > MAX_BLOCK_SECONDS and ticked_at != logged_at:
                logged_at = ticked_at
                logger.warning("event_loop_blocked", stack=self._stack())

    def _stack(self) -> list[str]:
        frame = sys._current_frames().get(self._thread_id)
        stack = traceback.extract_stack(frame)[-MAX_STACK_FRAMES:]
        return [f"{each.filename}:{each.lineno} {each.name}" for each in stack]
