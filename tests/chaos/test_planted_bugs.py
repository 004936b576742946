"""Six bugs, planted into the running service, that each break a promise: the checker finds every one.

Under the same faults and without the bug it finds nothing. Leases last two seconds here, to keep the tests short.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
import pytest_asyncio

from tests.chaos import dump
from tests.chaos.author import Author
from tests.chaos.bugs import BUGS
from tests.chaos.campaign import lines_of
from tests.chaos.checker import check
from tests.chaos.clients import Follower, World
from tests.chaos.history import History
from tests.chaos.stack import BUG_KINDS, Stack, running
from tests.chaos.violations import Violation
from tests.live.service import restore_template

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

#: Seconds within which a turn ends after the fault: few with a bug, because a turn that never ends uses all of them,
#: and many without it, because the machine may be busy.
END_TIMEOUT_SECONDS = {True: 10.0, False: 50.0}


class Bench:
    """A stack with a separate session for each scenario."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._turns, self._sessions = itertools.count(1), itertools.count(1)

    async def plant(self, bug: str) -> None:
        """Restart the processes with this bug and no other."""
        if bug == self.stack.bug:
            return
        kinds = {kind for name in (bug, self.stack.bug) if name for kind in BUG_KINDS.get(name, ("worker",))}
        self.stack.bug = bug
        processes = [process for kind in kinds for process in self.stack.of_kind(kind)]
        before = {process: process.pid for process in processes}
        for process in processes:
            process.signal(signal.SIGKILL)
        for process in processes:
            for _ in range(200):
                if process.pid == before[process]:
                    await asyncio.sleep(0.05)
        await self.stack.healthy()

    async def judge(self, scenario: Callable[[Stack, Author], Awaitable[None]]) -> list[Violation]:
        """Play a scenario and return what the checker finds."""
        history = self.stack.history = History()
        world = World(history, [link.port for link in self.stack.web_links], self.stack.tool_log)
        world.turn_numbers = self._turns
        session = f"{scenario.__name__}-{next(self._sessions)}"
        author, follower = Author(world, session), Follower(world, session, first=1)
        author.start()
        follower.start()
        try:
            await scenario(self.stack, author)
        finally:
            await author.stop()
            await follower.stop()
        await self.stack.healthy()
        tools = [line for line in lines_of(self.stack.tool_log) if line["session"] == session]
        data = await dump.read(self.stack, [session])
        return check(history.records, data, tools, lines_of(self.stack.provider_log))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("planted")
    async with running(folder, History(), workers=2, lease=2, fill=restore_template) as stack:
        yield Bench(stack)


async def the_end(stack: Stack, author: Author, turn: str) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(author.ended(turn), END_TIMEOUT_SECONDS[bool(stack.bug)])


async def freeze_and_thaw(stack: Stack, author: Author) -> None:
    turn = await author.say("tokens=60 rate=15")
    await author.until(lambda: author.deltas > 5)
    ((worker,),) = await stack.rows("SELECT worker FROM agent_sessions_turn WHERE id = %s", turn)
    (process,) = [process for process in stack.of_kind("worker") if worker.startswith(process.worker)]
    process.signal(signal.SIGSTOP)
    await asyncio.wait_for(author.until(lambda: author.starts > 1), END_TIMEOUT_SECONDS[False])
    process.signal(signal.SIGCONT)
    await the_end(stack, author, turn)
    # The thawed worker may still write, but after the end.
    await asyncio.sleep(1)


async def lose_the_task(stack: Stack, author: Author) -> None:
    await author.until(lambda: author.connected)
    for process in stack.of_kind("worker"):
        process.signal(signal.SIGSTOP)
    turn = await author.say("tokens=5 rate=50")
    # By now the task is in Redis or with one of the workers; it is lost when both die.
    await asyncio.sleep(1)
    for process in stack.of_kind("worker"):
        process.signal(signal.SIGKILL)
    await stack.flush_redis()
    await the_end(stack, author, turn)


async def cut_the_model_off(stack: Stack, author: Author) -> None:
    turn = await author.say("tokens=60 rate=20")
    await author.until(lambda: author.deltas > 5)
    stack.provider_link.cut()
    await the_end(stack, author, turn)


async def talk(stack: Stack, author: Author) -> None:
    await the_end(stack, author, await author.say("tokens=5 rate=50"))


async def die_before_the_tool_is_written_down(stack: Stack, author: Author) -> None:
    stack.armed.arm("worker.request_tools.before")
    await the_end(stack, author, await author.say("tokens=5 rate=20 tools=1"))


async def die_after_the_acknowledgement(stack: Stack, author: Author) -> None:
    turn = await author.say("tokens=5 rate=20")
    stack.of_kind("web")[author.web].signal(signal.SIGKILL)
    await the_end(stack, author, turn)


SCENARIOS = {
    "no_fencing": (freeze_and_thaw, "stale"),
    "no_outbox": (lose_the_task, "open"),
    "retry_after_output": (cut_the_model_off, "retried"),
    "number_from_the_clock": (talk, "gap"),
    "double_tool": (die_before_the_tool_is_written_down, "tool"),
    "ack_before_commit": (die_after_the_acknowledgement, "lost"),
}


async def test_every_bug_has_a_scenario() -> None:
    assert SCENARIOS.keys() == BUGS.keys()


@pytest.mark.parametrize("bug", SCENARIOS)
async def test_the_checker_sees_the_bug(bench: Bench, bug: str) -> None:
    scenario, kind = SCENARIOS[bug]
    await bench.plant(bug)
    found = await bench.judge(scenario)
    assert kind in {violation.kind for violation in found}, found


@pytest.mark.parametrize("bug", SCENARIOS)
async def test_without_the_bug_the_checker_finds_nothing(bench: Bench, bug: str) -> None:
    await bench.plant("")
    assert await bench.judge(SCENARIOS[bug][0]) == []
