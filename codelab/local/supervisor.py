"""Keeps programs running: starts again what dies, stops everything in order, leaves nothing behind.

Honcho's own manager is not used because it ends everything as soon as one process ends. Here a killed worker, or a
killed PostgreSQL, comes back by itself, as it does under a service manager.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import Signals

from codelab.environment import PROJECT
from codelab.local.output import Output
from codelab.local.system import Problem, tie_to_parent

FIRST_DELAY = 0.3
LONGEST_DELAY = 10.0
#: A program that has run for this many seconds is considered to have started well.
SETTLED = 5.0
#: Deaths of one program after which a start is given up.
DEATHS_AT_START = 3
#: A start is complete when every program has run for one second and none has died within three.
STEADY_RUN, STEADY_PEACE = 1.0, 3.0
#: An unfinished line longer than this is shown in pieces.
LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class Program:
    """A command to keep running and how to end it."""

    name: str
    command: Sequence[str]
    stop_signal: Signals = signal.SIGTERM
    stop_seconds: float = 10
    #: Follows when `stop_signal` took too long.
    kill_signal: Signals = signal.SIGKILL
    #: What the kernel sends when the supervisor is killed.
    death_signal: Signals = signal.SIGKILL
    on_screen: bool = True


def how_it_ended(code: int) -> str:
    """Say in words what an exit code of a child means."""
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Child:
    """One program, its process of the moment, and the task that keeps it running."""

    def __init__(self, program: Program, output: Output, on_death: Callable[[Child], None]) -> None:
        self.program = program
        self.deaths = 0
        self.started_at = self.died_at = float("-inf")
        self.last_lines: deque[str] = deque(maxlen=15)
        self.process: asyncio.subprocess.Process | None = None
        self._output = output
        self._on_death = on_death
        self._stopping = asyncio.Event()

    async def run_once(self) -> int:
        """Run the program to its end and return its exit code."""
        program = self.program
        # A pipe of our own: asyncio's would make `wait` wait for grandchildren that still hold it open.
        reading, writing = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=PROJECT,
                # A group of its own, so that a Ctrl-C in the terminal reaches the supervisor alone.
                start_new_session=True,
                preexec_fn=tie_to_parent(program.death_signal),
            )
        except OSError as error:
            os.close(reading)
            self._show(f"{program.command[0]} cannot be run: {error.strerror}")
            return 127
        finally:
            os.close(writing)
        copying = asyncio.create_task(self._copy(reading))
        if self._stopping.is_set():
            self._signal(program.stop_signal)
        code = await self.process.wait()
        # Whatever it has started ends with it.
        self._signal_group(signal.SIGKILL)
        self.process = None
        await asyncio.wait([copying], timeout=1)
        copying.cancel()
        return code

    async def keep_running(self) -> None:
        """Run the program again and again until `stop` is called."""
        delay = 0.0
        while not self._stopping.is_set():
            self.started_at = time.monotonic()
            code = await self.run_once()
            if self._stopping.is_set():
                return
            settled = time.monotonic() - self.started_at >= SETTLED
            delay = FIRST_DELAY if settled else min(max(delay * 2, FIRST_DELAY), LONGEST_DELAY)
            self.deaths += 1
            self.died_at = time.monotonic()
            self._output.say(f"{self.program.name} {how_it_ended(code)}; starting it again in {delay:.1f} s.")
            self._on_death(self)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """End the program and its group, by force if it does not listen, and wait for `running`."""
        self._stopping.set()
        self._signal(self.program.stop_signal)
        if not (await asyncio.wait([running], timeout=self.program.stop_seconds))[0]:
            self._output.say(f"{self.program.name} does not stop; ending it by force.")
            self._signal_group(self.program.kill_signal)
            if not (await asyncio.wait([running], timeout=5))[0]:
                self._signal_group(signal.SIGKILL)
        await running

    def kill(self) -> None:
        """End the program at once and for good."""
        self._stopping.set()
        self._signal_group(self.program.kill_signal)

    def _signal(self, signum: Signals) -> None:
        if self.process:
            with suppress(ProcessLookupError):
                self.process.send_signal(signum)

    def _signal_group(self, signum: Signals) -> None:
        if self.process:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signum)

    def _show(self, line: str) -> None:
        self.last_lines.append(line)
        self._output.line(self.program.name, line, on_screen=self.program.on_screen)

    async def _copy(self, reading: int) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            rest = b""
            while data := await reader.read(LONGEST_LINE):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._show(line.decode(errors="replace").rstrip("\r"))
            if rest:
                self._show(rest.decode(errors="replace"))
        finally:
            transport.close()


class Supervisor:
    """Programs in stages: each call of `start` is a stage, and `stop` ends the last stage first."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._stages: list[list[tuple[Child, asyncio.Task[None]]]] = []
        self._starting = True
        self._hopeless = asyncio.Event()
        self._reason = ""

    def start(self, *programs: Program) -> None:
        """Start programs and keep them running from now on."""
        children = [Child(program, self.output, self._died) for program in programs]
        self._stages.append([(child, asyncio.create_task(child.keep_running())) for child in children])

    async def run(self, program: Program) -> None:
        """Run a program that does one thing, to its end; raise `Problem` when it fails."""
        child = Child(program, self.output, self._died)
        code = 0

        async def once() -> None:
            nonlocal code
            code = await child.run_once()

        task = asyncio.create_task(once())
        stage = [(child, task)]
        self._stages.append(stage)
        # Shielded, because when the start is cancelled it is `stop` that ends the program.
        await asyncio.shield(task)
        self._stages.remove(stage)
        if code:
            raise Problem("\n".join([f"{program.name} {how_it_ended(code)}. Its last lines:", *child.last_lines]))

    async def attempt[T](self, step: Awaitable[T]) -> T:
        """Wait for a step of the start, but raise `Problem` when a program keeps dying meanwhile."""
        task = asyncio.ensure_future(step)
        hopeless = asyncio.create_task(self._hopeless.wait())
        try:
            await asyncio.wait([task, hopeless], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Problem(self._reason)
        finally:
            hopeless.cancel()
            task.cancel()

    def steady(self) -> bool:
        """Tell whether everything runs and nothing has died just now."""
        now = time.monotonic()
        return all(
            child.process and now - child.started_at > STEADY_RUN and now - child.died_at > STEADY_PEACE
            for stage in self._stages
            for child, _ in stage
        )

    def started(self) -> None:
        """From now on a program may die as often as it likes."""
        self._starting = False

    async def stop(self) -> None:
        """End everything: the stages one after the other, the programs of a stage side by side."""
        while self._stages:
            await asyncio.gather(*(child.stop(task) for child, task in self._stages[-1]))
            self._stages.pop()

    def kill(self) -> None:
        """End everything at once, whatever is lost; `stop` still has to be awaited."""
        for stage in self._stages:
            for child, _ in stage:
                child.kill()

    def _died(self, child: Child) -> None:
        if self._starting and child.deaths >= DEATHS_AT_START and not self._reason:
            head = f"{child.program.name} ended {child.deaths} times during the start. Its last lines:"
            self._reason = "\n".join([head, *child.last_lines])
            self._hopeless.set()


async def until(probe: Callable[[], bool], seconds: float) -> bool:
    """Ask a blocking `probe` again and again; tell whether it said yes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await asyncio.to_thread(probe):
            return True
        await asyncio.sleep(0.05)
    return False


async def supervise(supervisor: Supervisor, start: Callable[[], Awaitable[None]]) -> int:
    """Run `start`, keep everything running until a signal says stop, and return the exit code."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    starting = asyncio.ensure_future(start())
    asked_at = 0.0

    def asked_to_stop(signum: Signals) -> None:
        nonlocal asked_at
        if not stopping.is_set():
            asked_at = time.monotonic()
            stopping.set()
            starting.cancel()
            supervisor.output.say("Stopping …")
        # Not for SIGTERM: make and the group it runs in may both pass it on, so that it arrives twice.
        elif signum == signal.SIGINT and time.monotonic() - asked_at > 0.5:
            supervisor.output.say("Ending everything by force.")
            supervisor.kill()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, asked_to_stop, signum)
    code = 0
    try:
        await starting
        supervisor.started()
        await stopping.wait()
    except Problem as problem:
        supervisor.output.say(str(problem))
        code = 1
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    finally:
        # From here on a first Ctrl-C must not be taken for the second one.
        stopping.set()
        asked_at = asked_at or time.monotonic()
        await supervisor.stop()
    return code
