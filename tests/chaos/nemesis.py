"""Causes faults at random from a printed seed, in several lanes at once, so that faults also overlap.

The history has the beginning and the end of every fault. When `run` returns, everything runs again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.chaos import intruder
from tests.chaos.clients import World
from tests.chaos.edges import all_edges
from tests.chaos.processes import Process
from tests.chaos.proxy import Link
from tests.chaos.stack import Stack

#: Seconds that an armed edge waits for a process, and a frozen worker for others to claim its turns.
EDGE_TIMEOUT_SECONDS, TAKEOVER_TIMEOUT_SECONDS = 15.0, 40.0
#: Seconds that a deploy waits for a process to be ready before it restarts the next one.
DEPLOY_TIMEOUT_SECONDS = 20.0
#: Seconds between faults in each lane. With fewer, most turns would fail because all their workers die.
BETWEEN_BLOWS, BETWEEN_EDGES, BETWEEN_FREEZES = (2.0, 5.0), (5.0, 12.0), (6.0, 14.0)


class Nemesis:
    """Causes faults in a stack until `rest` is called."""

    def __init__(self, stack: Stack, world: World, dice: random.Random, *, pace: float = 1) -> None:
        self.stack, self.world, self.history, self.dice, self.pace = stack, world, world.history, dice, pace
        #: Names of the sessions in which it talks itself.
        self.sessions: list[str] = []
        self.faults: Counter[str] = Counter()
        self.edges: Counter[str] = Counter()
        self.takeovers = 0
        self._resting = asyncio.Event()
        self._numbers = itertools.count(1)
        self._postgres = asyncio.Lock()
        self._redis = asyncio.Lock()

    async def run(self) -> None:
        """Cause faults until `rest` is called."""
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._blows(self._arsenal()))
            lanes.create_task(self._blows(self._intrusions()))
            for kind in ("web", "worker"):
                lanes.create_task(self._edges(kind))
            lanes.create_task(self._freeze_workers())

    def rest(self) -> None:
        """End the current faults and begin no others."""
        self._resting.set()

    async def _pause(self, span: tuple[float, float]) -> None:
        """Leave the service in peace for a moment, unless it is time to rest."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._resting.wait(), self.dice.uniform(*span) * self.pace)

    @asynccontextmanager
    async def _fault(self, kind: str, **facts: Any) -> AsyncIterator[dict[str, Any]]:
        number = next(self._numbers)
        self.history.add("began", fault=number, kind=kind, **facts)
        self.faults[kind] += 1
        outcome: dict[str, Any] = {}
        try:
            yield outcome
        finally:
            self.history.add("ended", fault=number, kind=kind, **outcome)

    async def _blows(self, weights: dict[Callable[[], Awaitable[None]], int]) -> None:
        # Each kind once in random order, then by weight.
        waiting = list(weights)
        self.dice.shuffle(waiting)
        while not self._resting.is_set():
            blow = waiting.pop() if waiting else self.dice.choices(list(weights), list(weights.values()))[0]
            await blow()
            await self._pause(BETWEEN_BLOWS)

    def _arsenal(self) -> dict[Callable[[], Awaitable[None]], int]:
        return {
            self.kill_worker: 3,
            self.kill_web: 3,
            self.kill_beat: 1,
            self.end_worker: 2,
            self.end_web: 2,
            self.freeze_web: 1,
            self.flush_redis: 2,
            self.kill_redis: 2,
            self.freeze_redis: 1,
            self.swallow_redis: 1,
            self.cut_redis: 3,
            self.restart_postgres: 1,
            self.crash_postgres: 1,
            self.swallow_postgres: 1,
            self.slow_postgres: 1,
            self.cut_postgres: 3,
            self.cut_provider: 2,
            self.swallow_provider: 1,
            self.slow_redis: 1,
            self.odd_messages: 2,
        }

    def _intrusions(self) -> dict[Callable[[], Awaitable[None]], int]:
        """Return the faults that take long, so that others happen meanwhile."""
        return {self.wrong_clock: 2, self.poison_turn: 3, self.endless_answer: 2, self.rolling_deploy: 1}

    def _victim(self, kind: str) -> Process | None:
        """Choose a process to harm, but never the last one of its kind."""
        able = [process for process in self.stack.of_kind(kind) if process.alive and not process.frozen]
        return self.dice.choice(able) if len(able) > (kind != "beat") else None

    async def _signal(self, fault: str, kind: str, number: int) -> None:
        if victim := self._victim(kind):
            ended = victim.ended
            async with self._fault(fault, process=victim.name):
                victim.signal(number)
                await ended.wait()

    async def kill_worker(self) -> None:
        await self._signal("kill_worker", "worker", signal.SIGKILL)

    async def kill_web(self) -> None:
        await self._signal("kill_web", "web", signal.SIGKILL)

    async def kill_beat(self) -> None:
        await self._signal("kill_beat", "beat", signal.SIGKILL)

    async def end_worker(self) -> None:
        await self._signal("end_worker", "worker", signal.SIGTERM)

    async def end_web(self) -> None:
        await self._signal("end_web", "web", signal.SIGTERM)

    async def freeze_web(self) -> None:
        if victim := self._victim("web"):
            async with self._fault("freeze_web", process=victim.name):
                victim.signal(signal.SIGSTOP)
                await asyncio.sleep(self.dice.uniform(1, 5))
                victim.signal(signal.SIGCONT)

    async def flush_redis(self) -> None:
        async with self._redis, self._fault("flush_redis"):
            await self.stack.flush_redis()

    async def kill_redis(self) -> None:
        async with self._redis, self._fault("kill_redis"):
            await self.stack.restart(self.stack.redis, signal.SIGKILL, away=self.dice.uniform(0, 3))

    async def freeze_redis(self) -> None:
        async with self._redis, self._fault("freeze_redis"):
            self.stack.signal_server(self.stack.redis, signal.SIGSTOP)
            await asyncio.sleep(self.dice.uniform(1, 6))
            self.stack.signal_server(self.stack.redis, signal.SIGCONT)

    async def restart_postgres(self) -> None:
        async with self._postgres, self._fault("restart_postgres"):
            await self.stack.restart(self.stack.postgres, signal.SIGINT, away=self.dice.uniform(0, 3))

    async def crash_postgres(self) -> None:
        async with self._postgres, self._fault("crash_postgres"):
            await self.stack.restart(self.stack.postgres, signal.SIGQUIT, away=self.dice.uniform(0, 1))

    async def slow_postgres(self) -> None:
        async with self._fault("slow_postgres"):
            await self.stack.postgres_link.hold_back(self.dice.uniform(0.02, 0.2), self.dice.uniform(1, 4))

    async def slow_redis(self) -> None:
        async with self._fault("slow_redis"):
            await self.stack.redis_link.hold_back(0.3, self.dice.uniform(2, 5))

    async def wrong_clock(self) -> None:
        """Restart a worker with a clock that is 20 s wrong, for as long as the process lives."""
        if victim := self._victim("worker"):
            victim.clock = self.dice.choice((-20.0, 20.0))
            ended = victim.ended
            async with self._fault("wrong_clock", process=victim.name, seconds=victim.clock):
                victim.signal(signal.SIGKILL)
                await ended.wait()
                await self._up(victim)
            victim.clock = 0.0

    async def odd_messages(self) -> None:
        async with self._redis, self._fault("odd_messages"):
            await intruder.send_odd_messages(self.stack, self.dice)

    async def poison_turn(self) -> None:
        async with self._postgres, self._fault("poison_turn") as outcome:
            outcome["turn"] = await intruder.poison_turn(self.stack)

    async def endless_answer(self) -> None:
        session = f"endless-{next(self._numbers)}"
        self.sessions.append(session)
        async with self._fault("endless_answer", session=session) as outcome:
            outcome["turn"] = await intruder.ask_for_an_endless_answer(self.stack, self.world, session)

    async def rolling_deploy(self) -> None:
        """Restart all web processes and workers, one after the other, as a deploy does."""
        async with self._fault("rolling_deploy"):
            for process in (*self.stack.of_kind("web"), *self.stack.of_kind("worker")):
                if self._resting.is_set():
                    break
                ended = process.ended
                if process.signal(signal.SIGTERM):
                    await ended.wait()
                await self._up(process)

    async def _up(self, process: Process) -> None:
        """Wait until a process that has ended runs again, and is ready for work."""
        with suppress(TimeoutError):
            await self.stack.ready(process, DEPLOY_TIMEOUT_SECONDS)

    async def swallow_redis(self) -> None:
        await self._swallow("swallow_redis", self.stack.redis_link)

    async def swallow_postgres(self) -> None:
        await self._swallow("swallow_postgres", self.stack.postgres_link)

    async def swallow_provider(self) -> None:
        await self._swallow("swallow_provider", self.stack.provider_link)

    async def cut_redis(self) -> None:
        await self._cut("cut_redis", self.stack.redis_link, 1)

    async def cut_postgres(self) -> None:
        await self._cut("cut_postgres", self.stack.postgres_link, 1)

    async def cut_provider(self) -> None:
        await self._cut("cut_provider", self.stack.provider_link, 0.3)

    async def _swallow(self, fault: str, link: Link) -> None:
        async with self._fault(fault):
            await link.swallow(self.dice.uniform(0.5, 4))

    async def _cut(self, fault: str, link: Link, share: float) -> None:
        async with self._fault(fault):
            link.cut(share, self.dice)

    async def _edges(self, kind: str) -> None:
        """Kill processes of a kind at one edge after another, at each edge once before any edge twice."""
        waiting: list[str] = []
        while not self._resting.is_set():
            if not waiting:
                waiting = [edge for edge in all_edges() if edge.startswith(f"{kind}.")]
                self.dice.shuffle(waiting)
                waiting.sort(key=lambda edge: -self.edges[edge])
            edge = waiting.pop()
            await self._edge(edge)
            await self._pause(BETWEEN_EDGES)

    async def _edge(self, edge: str) -> None:
        armed = self.stack.armed
        before = armed.times_reached(edge)
        async with self._fault("edge", edge=edge) as outcome:
            armed.arm(edge)
            for _ in range(int(EDGE_TIMEOUT_SECONDS / 0.1)):
                await asyncio.sleep(0.1)
                if armed.times_reached(edge) > before or self._resting.is_set():
                    break
            armed.disarm(edge)
            outcome["reached"] = armed.times_reached(edge) > before
        self.edges[edge] += outcome["reached"]
        # It is a fault only if a process has died.
        self.faults["edge"] -= not outcome["reached"]

    async def _freeze_workers(self) -> None:
        """Freeze a worker past its lease, thaw it when others have its turns, and repeat."""
        while not self._resting.is_set():
            victim = self._victim("worker")
            if victim and len(await self.stack.running_turns(victim.worker)) > 1:
                await self._freeze(victim)
            await self._pause(BETWEEN_FREEZES)

    async def _freeze(self, victim: Process) -> None:
        if not victim.signal(signal.SIGSTOP):
            return
        ended = victim.ended
        async with self._fault("freeze_worker", process=victim.name) as outcome:
            name = victim.worker
            turns = outcome["turns"] = await self.stack.running_turns(name)
            for _ in range(int(TAKEOVER_TIMEOUT_SECONDS / 0.3)):
                await asyncio.sleep(0.3)
                states = await self.stack.rows(STATES, list(turns))
                if ended.is_set() or not any(
                    worker.startswith(name) and status in WITHOUT for _, status, worker in states
                ):
                    break
            taken = [str(turn) for turn, _, worker in states if not worker.startswith(name)]
            if not ended.is_set():
                victim.signal(signal.SIGCONT)
                self.takeovers += len(taken)
                for turn in taken:
                    self.history.add("taken_over", turn=turn, process=victim.name)


STATES = "SELECT id, status, worker FROM agent_sessions_turn WHERE id = ANY(%s)"
#: A turn in one of these states and still under the frozen worker's name has no other worker yet.
WITHOUT = ("running", "queued")
