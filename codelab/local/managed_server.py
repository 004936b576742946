"""The base class of the embedded servers: a folder, a port, a password, a start and a stop."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from codelab.local.operating_system import (
    LOOPBACK,
    StartupError,
    as_user,
    free_port,
    owner_for_servers,
    port_problem,
    tie_to_parent,
    write_private,
)


class ManagedServer:
    """A server that keeps its data in `folder`, with its port and password in server.json.

    `durable=False` trades the safety of the data for speed, for tests. Use it as a context manager, or call `prepare`
    and run `command` yourself until `ready`.
    """

    name: ClassVar[str]
    stop_signal: ClassVar = signal.SIGTERM
    kill_signal: ClassVar = signal.SIGKILL
    death_signal: ClassVar = signal.SIGTERM
    stop_seconds: ClassVar[float] = 20

    def __init__(self, folder: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.durable = durable
        self.port = 0
        self.password = ""
        self.process: subprocess.Popen[bytes] | None = None
        self._wanted_port = port
        self._user: tuple[int, int] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground. Call `prepare` first."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Return whether the server accepts its password."""
        raise NotImplementedError

    def _stop_orphan(self) -> None:
        raise NotImplementedError

    def _set_up(self) -> None:
        raise NotImplementedError

    def _as_user(self) -> list[str]:
        return as_user(self._user, self.death_signal)

    def prepare(self) -> None:
        """Create what `command` needs: data, password, port. End a server that a killed run left on this folder."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._user = owner_for_servers(self.folder)
        if self._user:
            os.chown(self.folder, *self._user)
        elif self.folder.stat().st_uid != os.geteuid():
            raise StartupError(
                f"{self.folder} belongs to another user: run as that user, or choose another data folder."
            )
        state = self.folder / "server.json"
        try:
            stored: dict[str, Any] = json.loads(state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            stored = {}
        except ValueError as error:
            raise StartupError(f"{state} cannot be read ({error}): repair it, or delete {self.folder}.") from error
        self.password = stored.get("password", "")
        self.port = stored.get("port", 0)
        self._stop_orphan()
        if self._wanted_port:
            self.port = self._wanted_port
        elif not self.port or port_problem(LOOPBACK, self.port):
            self.port = free_port()
        self._set_up()
        write_private(state, json.dumps({"port": self.port, "password": self.password}))

    def start(self, seconds: float = 60) -> None:
        """Start the server and wait until it answers. It ends with the calling thread."""
        self.prepare()
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Safe with threads: it makes one system call and takes no lock.
                preexec_fn=tie_to_parent(self.death_signal),  # noqa: PLW1509
            )
        deadline = time.monotonic() + seconds
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                lines = log.read_text(errors="replace").splitlines()[-10:]
                # The processes of a PostgreSQL that was killed need a moment to notice it.
                if "is still in use" in "".join(lines[-3:]) and seconds > 1:
                    time.sleep(0.5)
                    self.start(seconds - 1)
                    return
                raise StartupError("\n".join([f"{self.name} did not start. The end of {log}:", *lines]))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server if it is running."""
        if not self.process:
            return
        for signum, seconds in ((self.stop_signal, self.stop_seconds), (self.kill_signal, 5), (signal.SIGKILL, None)):
            self.process.send_signal(signum)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
