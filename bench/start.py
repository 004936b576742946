"""The second start of `make run`: the time until the service is healthy, and the memory of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import processes

if TYPE_CHECKING:
    from bench.product import Product

#: What counts as the service. Servers and supervisor are beside it.
SERVICE = ("web", "worker", "beat", "flower")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start on a data folder that an earlier start has filled."""

    #: Until everything is healthy, as `make run` prints it.
    seconds: float
    #: Processor seconds until then, by kind of process.
    cpu: Mapping[str, float]
    #: MiB (PSS) when all are calm, by kind of process.
    memory: Mapping[str, float]

    @property
    def memory_of_service(self) -> float:
        """MiB of web, worker, beat and Flower together."""
        return sum(self.memory.get(kind, 0.0) for kind in SERVICE)


def measure_start(product: Product) -> Start:
    """Stop the product, start it once more and measure it before its first turn."""
    seconds = product.restart()
    cpu = processes.cpu(product.kinds)
    processes.wait_until_calm(product.kinds)
    return Start(seconds=seconds, cpu=cpu, memory=processes.memory(product.kinds))


def described(start: Start) -> str:
    """Return the line of the table."""
    cpu = ", ".join(f"{kind} {used:.1f}" for kind, used in start.cpu.items())
    memory = ", ".join(f"{kind} {taken:.0f}" for kind, taken in start.memory.items())
    return (
        f"second start: {start.seconds:.1f} s, {sum(start.cpu.values()):.1f} s of a core ({cpu});"
        f" {start.memory_of_service:.0f} MiB in web, worker, beat and Flower ({memory})"
    )
