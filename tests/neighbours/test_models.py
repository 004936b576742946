"""Model servers that send without an end, as any user may bring one, beside a neighbour's stream on the same worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.live.service import Service
from tests.neighbours.stream import PROVIDER_MESSAGE, neighbour

pytestmark = pytest.mark.live

#: What the memory of a worker may grow by.
MAX_GROWTH_MB = 50
ENDLESS = ("text", "pieces", "reasoning", "arguments", "calls", "line", "values")


def memory_of(service: Service) -> float:
    """Return the memory of the worker in MB."""
    status = Path(f"/proc/{service.processes['worker'].pid}/status")
    if not status.exists():
        pytest.skip("only Linux has the memory of a process in /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


@asynccontextmanager
async def bounded_memory(service: Service) -> AsyncIterator[None]:
    """Check that the worker's memory stays bounded while the block runs."""
    before = most = memory_of(service)

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, memory_of(service))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    yield
    watching.cancel()
    assert most - before < MAX_GROWTH_MB


async def test_an_answer_without_an_end_fails_and_costs_no_one_else(provided_service: Service) -> None:
    async with provided_service.connect("/ws/endless") as alice:
        await alice.say("tokens=3")
        await alice.until_final()
        with neighbour(provided_service, message=PROVIDER_MESSAGE):
            async with bounded_memory(provided_service):
                for what in ENDLESS:
                    last = {"error_code": "model_timed_out"}
                    # On a busy machine the provider may not begin in two seconds.
                    while last["error_code"] == "model_timed_out":
                        await alice.say(f"endless={what}")
                        last = (await alice.until_final())[-1]
                    assert (what, last["error_code"]) == (what, "model_answer_too_long")


async def test_embeddings_without_an_end_fail_and_cost_no_one_else(provided_service: Service) -> None:
    with neighbour(provided_service, message=PROVIDER_MESSAGE):
        async with bounded_memory(provided_service):
            for inputs in ("endless", ["endless"]):
                body = {"model": "openai/fake", "input": inputs}
                status, answer = await asyncio.to_thread(provided_service.post, "/v1/embeddings", body)
                assert (status, json.loads(answer)["error"]["code"]) == (502, "model_answer_too_long")
