"""Runs commands: in a process group of their own, which is ended with them, with limits of time and output.

A command has no standard input. Its group is ended when the command ends, at its time limit, when the call is
cancelled, and when the client closes. A guard, a small shell that waits at a pipe, ends the group also when the client
is killed: then the pipe closes. A process that has left the group on purpose (`setsid`) is out of reach.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any, Self

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import paths, shells
from codelab_cli.tools.arguments import ExecuteCommand
from codelab_cli.tools.root import Links, NotFound, Root
from codelab_cli.tools.secrets import ADVICE

#: Of each of the two outputs: this much from the beginning, and as much from the end.
KEPT_BYTES = 16_000
#: Between the signal that asks a group to end and the one that ends it.
GRACE_SECONDS = 2.0
#: For output that is in the pipe when the command has ended.
DRAIN_SECONDS = 0.5
MAX_COMMANDS_AT_ONCE = 4

# Reads the group's number, then waits for the word that it has ended. A closed pipe means that the client was killed.
_GUARD = 'read -r group || exit 0; read -r word && exit 0; kill -TERM "-$group"; sleep 2; kill -KILL "-$group"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    #: 128 and the signal's number when a signal ended it, as in shells.
    exit_code: int
    stdout: str
    stderr: str
    duration_ms: int
    timed_out: bool


class Commands:
    """The commands that run for one client."""

    def __init__(self, root: Root, *, allow_secrets: bool) -> None:
        self._root = root
        self._allow_secrets = allow_secrets
        self._free = asyncio.Semaphore(MAX_COMMANDS_AT_ONCE)

    async def execute(self, arguments: ExecuteCommand, *, approved_by_person: bool) -> dict[str, Any]:
        """Run a command that was approved and return the result of execute_command. Raises ToolFailed."""
        if not approved_by_person:
            self.check_secrets(arguments)
        words = shells.split(arguments.command, shell=arguments.shell)
        ended = await self.run(words, cwd=arguments.cwd or ".", timeout=arguments.timeout)
        return {
            "command": arguments.command,
            "exit_code": ended.exit_code,
            "stdout": ended.stdout,
            "stderr": ended.stderr,
            "duration_ms": ended.duration_ms,
            "timed_out": ended.timed_out,
        }

    def check_secrets(self, arguments: ExecuteCommand) -> None:
        """Raise ToolFailed for a command that names a file of secrets."""
        for name in () if self._allow_secrets else shells.secret_words(arguments.command):
            if self._is_file(name, arguments.cwd or "."):
                raise ToolFailed(f"The command names {name}, which may hold secrets, so it was not run. {ADVICE}")

    def _is_file(self, name: str, cwd: str) -> bool:
        """Return whether a word of a command can be a file: one that is there, or one outside of the workspace."""
        try:
            path = paths.join([*paths.split(cwd), *paths.split(name)])
            with self._root.place(path, Links.FOLLOW) as place:
                return place.stat() is not None
        except NotFound:
            return False
        except ToolFailed:
            return True

    async def run(self, words: Sequence[str], *, cwd: str, timeout: float, kept_bytes: int = KEPT_BYTES) -> Ended:
        """Run a program in a folder of the workspace and wait for its end. Raises ToolFailed."""
        async with self._free:
            with self._root.place(cwd, Links.FOLLOW) as place:
                if place.stat() is None:
                    raise ToolFailed(f"The folder {cwd} does not exist")
                folder = place.open_folder()
                path = str(self._root.path / place.path) if place.path != "." else str(self._root.path)
            try:
                return await self._run_in(folder, path, words, timeout, kept_bytes)
            finally:
                os.close(folder)

    async def _run_in(self, folder: int, path: str, words: Sequence[str], timeout: float, kept_bytes: int) -> Ended:
        variables = shells.environment(os.environ, path, allow_secrets=self._allow_secrets)
        began = time.monotonic()
        timed_out = False
        with _guard() as guard:
            process = _start(words, _folder_of(folder, path), variables)
            guard.watch(process.pid)
            ending = asyncio.get_running_loop().run_in_executor(None, process.wait)
            outputs = [await _Output.begin(stream, kept_bytes) for stream in (process.stdout, process.stderr)]
            try:
                timed_out = not (await asyncio.wait({ending}, timeout=timeout))[0]
            finally:
                # Also when the call is cancelled; and what the command has left running in its group.
                await asyncio.shield(_end(process.pid, ending))
                guard.has_ended()
                await asyncio.wait([output.reading for output in outputs], timeout=DRAIN_SECONDS)
                for output in outputs:
                    output.close()
        code = process.returncode
        return Ended(
            exit_code=code if code >= 0 else 128 - code,
            stdout=outputs[0].text(),
            stderr=outputs[1].text(),
            duration_ms=int((time.monotonic() - began) * 1000),
            timed_out=timed_out,
        )


class _Guard:
    """A process that ends a group when this client is gone."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe

    def watch(self, group: int) -> None:
        """Tell the guard which group it ends."""
        self._pipe.write(f"{group}\n".encode())

    def has_ended(self) -> None:
        """Tell the guard that the group has ended."""
        self._pipe.write(b"ended\n")


@contextmanager
def _guard() -> Iterator[_Guard]:
    command = ["/bin/sh", "-c", _GUARD]
    with subprocess.Popen(
        command, bufsize=0, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True, env={"PATH": os.defpath}
    ) as process:
        assert process.stdin
        yield _Guard(process.stdin)


def _start(words: Sequence[str], folder: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    # Popen returns when the program runs, so the guard knows it without a moment between.
    try:
        return subprocess.Popen(
            words, bufsize=0, cwd=folder, env=variables, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
    except FileNotFoundError:
        raise ToolFailed(f"The program {words[0][:200]!r} was not found") from None
    except PermissionError:
        raise ToolFailed(f"The program {words[0][:200]!r} may not be run") from None
    except OSError as error:
        raise ToolFailed(f"The command could not be started: {error.strerror}") from None


def _folder_of(descriptor: int, path: str) -> str:
    """Return a path of an open folder that nothing can replace, where the system has such paths."""
    opened = f"/proc/self/fd/{descriptor}"
    return opened if Path(opened).is_dir() else path


async def _end(group: int, ending: asyncio.Future[int]) -> None:
    """End what is left of a process group, and wait for the process that leads it."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        word = int(kind)
        while time.monotonic() < deadline:
            try:
                os.killpg(group, word)
            except (ProcessLookupError, PermissionError):
                # macOS says that it is not permitted when the group has only a process that has ended.
                await ending
                return
            # From now on only asked whether it is still there.
            word = 0
            await asyncio.sleep(0.02)
            if ending.done() and not _has_running(group):
                return
    await ending


def _has_running(group: int) -> bool:
    """Return whether a process of a group runs; one that has ended stays in it until its parent, init, looks."""
    processes = Path("/proc")
    if not (processes / "self/stat").exists():
        return True
    for folder in processes.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                # Behind the name, which can have blanks and brackets: state, parent, group.
                state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state not in "ZX":
                    return True
    return False


class _Output:
    """One output of a command: its beginning, its end, and how much stands between them."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._head, self._tail = bytearray(), bytearray()
        self._dropped = 0
        self._transport: asyncio.BaseTransport
        self.reading: asyncio.Task[None]

    @classmethod
    async def begin(cls, pipe: IO[bytes] | None, kept: int) -> Self:
        """Begin to read a pipe."""
        output = cls(kept)
        reader = asyncio.StreamReader()
        output._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        output.reading = asyncio.create_task(output._read(reader))
        return output

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while piece := await reader.read(65_536):
            room = self._kept - len(self._head)
            self._head += piece[:room]
            self._tail += piece[room:]
            if len(self._tail) > 2 * self._kept:
                self._drop()

    def _drop(self) -> None:
        surplus = max(0, len(self._tail) - self._kept)
        self._dropped += surplus
        del self._tail[:surplus]

    def close(self) -> None:
        """End reading; a process outside of the group may still hold the pipe."""
        self.reading.cancel()
        self._transport.close()

    def text(self) -> str:
        """Return what is kept, with a word about what is left out."""
        self._drop()
        between = f"\n… {self._dropped} bytes left out …\n".encode() if self._dropped else b""
        return bytes(self._head + between + self._tail).decode(errors="replace")
