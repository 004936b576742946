"""A step that is cancelled for two reasons is cancelled once."""

from __future__ import annotations

import asyncio

from sessions.worker.runner import Lease


async def test_a_second_cancellation_does_not_interrupt_what_the_first_leads_to() -> None:
    records: list[str] = []

    async def step() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            records.append("costs")

    lease = Lease(asyncio.create_task(step()))
    await asyncio.sleep(0)
    for _ in range(3):
        lease.cancel()
        await asyncio.sleep(0)
    await lease.task
    assert records == ["costs"]
