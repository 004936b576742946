"""Keeps programs running: restarts what dies, stops everything in order, leaves nothing behind.

Honcho's own manager ends everything as soon as one process ends. Here a killed worker, or a killed PostgreSQL, is
restarted, as under a service manager.
"""

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
from codelab.local.operating_system import StartupError, tie_to_parent
from codelab.local.output import Output

MIN_RESTART_DELAY_SECONDS = 0.3
MAX_RESTART_DELAY_SECONDS = 10.0
#: A program that has run for this long has started well; its next restart is quick again.
STARTED_WELL_SECONDS = 5.0
#: Deaths of one program after which the start is abandoned.
MAX_DEATHS_AT_START = 3
#: The start is complete when every program has run for one second and none has died within three.
STEADY_RUN_SECONDS, STEADY_PEACE_SECONDS = 1.0, 3.0
#: An unfinished line longer than this is shown in pieces.
MAX_LINE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Program:
    """A command to keep running and how to end it."""

    name: str
    command: Sequence[str]
    stop_signal: Signals = signal.SIGTERM
    stop_seconds: float = 10
    #: Sent when `stop_signal` took too long.
    kill_signal: Signals = signal.SIGKILL
    #: Sent by the kernel when the supervisor is killed.
    death_signal: Signals = signal.SIGKILL
    on_screen: bool = True


def describe_exit(code: int) -> str:
    """Return a child's exit code in words."""
    return f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


class Child:
    """One program, its current process, and the task that keeps it running."""

    def __init__(self, program: Program, output: Output, on_death: "Callable[[Child], None]") -> None:
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
        # With asyncio's own pipe `wait` would wait for grandchildren that keep it open.
        reading, writing = os.pipe()
        try:
            self.process = await asyncio.create_subprocess_exec(
                *program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=PROJECT,
                # A group of its own, so that Ctrl-C reaches only the supervisor.
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
        # Its own children end with it.
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
            started_well = time.monotonic() - self.started_at >= STARTED_WELL_SECONDS
            delay = 0.0 if started_well else delay * 2
            delay = min(max(delay, MIN_RESTART_DELAY_SECONDS), MAX_RESTART_DELAY_SECONDS)
            self.deaths += 1
            self.died_at = time.monotonic()
            self._output.say(f"{self.program.name} {describe_exit(code)}; restarting it in {delay:.1f} s.")
            self._on_death(self)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """End the program and its group, by force after a while, and wait for `running`."""
        self._stopping.set()
        self._signal(self.program.stop_signal)
        if not (await asyncio.wait([running], timeout=self.program.stop_seconds))[0]:
            self._output.say(f"{self.program.name} does not stop; killing it.")
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
            while data := await reader.read(MAX_LINE_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
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
        """Run a program to its end; raise `StartupError` when it fails."""
        child = Child(program, self.output, self._died)
        code = 0

        async def once() -> None:
            nonlocal code
            code = await child.run_once()

        task = asyncio.create_task(once())
        stage = [(child, task)]
        self._stages.append(stage)
        # Shielded: when the start is cancelled, `stop` ends the program.
        await asyncio.shield(task)
        self._stages.remove(stage)
        if code:
            raise StartupError("\n".join([f"{program.name} {describe_exit(code)}. Its last lines:", *child.last_lines]))

    async def attempt[T](self, step: Awaitable[T]) -> T:
        """Wait for a step of the start; raise `StartupError` when a program keeps dying meanwhile."""
        task = asyncio.ensure_future(step)
        hopeless = asyncio.create_task(self._hopeless.wait())
        try:
            await asyncio.wait([task, hopeless], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise StartupError(self._reason)
        finally:
            hopeless.cancel()
            task.cancel()

    def steady(self) -> bool:
        """Return whether everything runs and nothing has died recently."""
        now = time.monotonic()
        return all(
            child.process and now - child.started_at > STEADY_RUN_SECONDS and now - child.died_at > STEADY_PEACE_SECONDS
            for stage in self._stages
            for child, _ in stage
        )

    def started(self) -> None:
        """Note that the start is complete: from now on a program may die any number of times."""
        self._starting = False

    async def stop(self) -> None:
        """End everything: stage after stage, the programs of a stage at the same time."""
        while self._stages:
            await asyncio.gather(*(child.stop(task) for child, task in self._stages[-1]))
            self._stages.pop()

    def kill(self) -> None:
        """Kill everything at once, whatever is lost; `stop` still has to be awaited."""
        for stage in self._stages:
            for child, _ in stage:
                child.kill()

    def _died(self, child: Child) -> None:
        if self._starting and child.deaths >= MAX_DEATHS_AT_START and not self._reason:
            head = f"{child.program.name} ended {child.deaths} times during the start. Its last lines:"
            self._reason = "\n".join([head, *child.last_lines])
            self._hopeless.set()


async def until(probe: Callable[[], bool], seconds: float) -> bool:
    """Call a blocking `probe` until it returns true; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if await asyncio.to_thread(probe):
            return True
        await asyncio.sleep(0.05)
    return False


async def supervise(supervisor: Supervisor, start: Callable[[], Awaitable[None]]) -> int:
    """Run `start`, keep everything running until a signal arrives, and return the exit code."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    starting = asyncio.ensure_future(start())
    requested_at = 0.0

    def request_stop(signum: Signals) -> None:
        nonlocal requested_at
        if not stopping.is_set():
            requested_at = time.monotonic()
            stopping.set()
            starting.cancel()
            supervisor.output.say("Stopping …")
        # Not for SIGTERM: make and its process group may both pass it on, so that it arrives twice.
        elif signum == signal.SIGINT and time.monotonic() - requested_at > 0.5:
            supervisor.output.say("Killing everything.")
            supervisor.kill()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, request_stop, signum)
    code = 0
    try:
        await starting
        supervisor.started()
        await stopping.wait()
    except StartupError as problem:
        supervisor.output.say(str(problem))
        code = 1
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    finally:
        # From here on a first Ctrl-C must not count as the second one.
        stopping.set()
        requested_at = requested_at or time.monotonic()
        await supervisor.stop()
    return code
