"""A program that `make clients` runs: its packages, its command, the place where it works, and its task."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.programs.packages import install_from_npm, install_from_pypi
from tests.programs.provider import DONE, TAG, Json, Task

#: What the model has written into FILE at the end.
FILE, CONTENT = "hello.txt", "Hello from a model.\n"
#: The same by a shell.
SHELL_COMMAND = f"printf '{CONTENT.strip()}\\n' > {FILE}"
#: Claude Code waits up to a minute before it asks again.
RUN_SECONDS = 240.0
#: A closed port: programs have no other network than this service.
CLOSED_PROXY = "http://127.0.0.1:9"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a program runs, and what it needs to reach the service."""

    #: Of the packages.
    folder: Path
    #: Where it works; its HOME is beside it.
    workspace: Path
    #: Of its own programs.
    programs: Path
    #: The service's address.
    url: str
    api_key: str
    model: str
    prompt: str

    @property
    def base_url(self) -> str:
        """Return the address as all programs but Anthropic's want it."""
        return f"{self.url}/v1"

    @property
    def home(self) -> Path:
        """Return a home folder without anything of the user's."""
        return self.workspace.parent / "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, and the way to give it one task."""

    name: str
    packages: tuple[str, ...]
    #: Returns the command; may write the program's settings first.
    command: Callable[[Place], list[str | Path]]
    #: What it does with the service, for people.
    way: str
    #: The tool that the model asks for, and its arguments; no tool: the program reads changes from the text.
    tool: str = "write_file"
    arguments: Json = field(default_factory=lambda: {"path": FILE, "content": CONTENT})
    text: str = ""
    is_node: bool = False
    #: Variables of its environment.
    environment: Callable[[Place], dict[str, str]] = lambda _: {}

    def task(self, suffix: str, **conduct: int) -> Task:
        """Return what the model does for this program."""
        return Task(f"{self.name}-{suffix}", self.tool, self.arguments, self.text, **conduct)

    def install(self, folder: Path) -> Path:
        """Install it in a folder; return the folder of its commands. Raises PackagesUnavailable."""
        return (install_from_npm if self.is_node else install_from_pypi)(folder, self.packages)

    def start(self, place: Place) -> Started:
        """Start it in its workspace."""
        place.workspace.mkdir(parents=True)
        place.home.mkdir()
        environment = {
            "PATH": f"{place.programs}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(place.home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "HTTP_PROXY": CLOSED_PROXY,
            "HTTPS_PROXY": CLOSED_PROXY,
            "NO_PROXY": "127.0.0.1",
            "BASE_URL": place.base_url,
            "API_KEY": place.api_key,
            **self.environment(place),
        }
        log = place.workspace.parent / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(place),
                cwd=place.workspace,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Started(self, place, process, log)


@dataclass(frozen=True, slots=True)
class Started:
    """A program that runs."""

    program: Program
    place: Place
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        """Wait for its end and return its exit code. Raises AssertionError when it takes too long."""
        try:
            return self.process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"it ran for {RUN_SECONDS:.0f} s: {self.output[-1500:]}") from error

    def finish(self) -> None:
        """Wait until it has done its task. Raises AssertionError."""
        code = self.wait()
        end = self.output[-1500:]
        assert code == 0, f"it ended with {code}: {end}"
        written = self.place.workspace / FILE
        # In some forms of answer the last line break is lost.
        assert written.exists(), f"no {FILE}: {end}"
        assert written.read_text().strip() == CONTENT.strip(), f"another text in {FILE}: {end}"
        assert not self.program.tool or DONE in self.output, f"the last answer is missing: {end}"


def prompt(task: str) -> str:
    """Return what a user says for a task."""
    return f"Write the file {FILE}. {TAG.format(name=task)}"
