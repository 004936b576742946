"""How fast answers stream: `make bench` starts the service and a provider, and lets 1, 8, 16 … sessions talk at once.

Every token carries the time at which the provider made it, so "added" is what this service adds to it. Client,
provider and service share the machine; compare ratios within one run, not runs (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests import servers
from tests.live.provider import Provider
from tests.live.service import Service, Socket, running

TOKENS, RATE = 200, 50
IDEAL = (TOKENS - 1) / RATE


async def turn(client: Socket, said: str) -> tuple[list[float], float]:
    """Run one turn; return what was added to each token, and its seconds. Fails when a token is not in place."""
    started = time.monotonic()
    await client.say(said)
    text, added, seen = "", [], 0
    while True:
        frame = await client.receive(60)
        now = time.monotonic()
        if frame.get("is_final"):
            break
        assert frame["type"] == "assistant_message", frame
        text += frame["token"]
        stamps = frame["token"].split()
        added += [now - float(stamp.partition("@")[2]) for stamp in stamps]
        numbers = [int(stamp.partition("@")[0]) for stamp in stamps]
        assert numbers == list(range(seen, seen + len(numbers))), "tokens are not in order"
        seen += len(numbers)
    assert seen == TOKENS, f"{seen} of {TOKENS} tokens"
    assert frame["content"] == text, "the whole is not its pieces"
    return added, time.monotonic() - started


async def measure(service: Service, streams: int) -> None:
    """Print a line for so many sessions at once."""
    connections = [service.connect(f"/ws/bench-{streams}-{i}-{time.time()}") for i in range(streams)]
    clients = [await connection.__aenter__() for connection in connections]
    for client in clients:
        await client.say("tokens=1")
        await client.until_final()
    started = time.monotonic()
    results = await asyncio.gather(
        *(turn(client, f"stamp=1 tokens={TOKENS} rate={RATE} n={i}") for i, client in enumerate(clients))
    )
    wall = time.monotonic() - started
    for connection in connections:
        await connection.__aexit__(None, None, None)
    first = [added[0] * 1000 for added, _ in results]
    rest = sorted(ms * 1000 for added, _ in results for ms in added[1:])
    print(
        f"{streams:8} {len(results):6} {wall / IDEAL:10.2f} {statistics.median(first):10.0f} {max(first):8.0f}"
        f" {statistics.median(rest):10.0f} {rest[int(len(rest) * 0.99)]:8.0f}",
        flush=True,
    )


def main() -> None:
    """Print the table; the numbers of streams come from the command line."""
    counts = [int(word) for word in sys.argv[1:]] or [1, 8, 16, 32]
    folder = Path(tempfile.mkdtemp(prefix="codelab-bench-"))
    databases = {"postgres": os.environ["DATABASE_URL"], "redis": os.environ["REDIS_URL"]}
    with (
        Provider() as provider,
        running(folder, **databases, CODELAB_MODEL="openai/fake", OPENAI_API_BASE=provider.url) as service,
    ):
        print(f"{TOKENS} tokens at {RATE} a second; ideal time {IDEAL:.2f} s; milliseconds added by the service")
        print(f"{'streams':>8} {'whole':>6} {'x ideal':>10} {'first p50':>10} {'max':>8} {'token p50':>10} {'p99':>8}")
        for count in counts:
            asyncio.run(measure(service, count))


if __name__ == "__main__":
    try:
        main()
    finally:
        servers.stop()
