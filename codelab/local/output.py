"""The output of `make run`: the lines of all processes in one stream, each with its time and process.

Every process also has a file in the log folder; the previous run is kept as NAME.log.1.
"""

import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer

#: The name in front of the supervisor's own lines.
OWN_NAME = "codelab"


class Output:
    """Writes lines to the terminal, with a colour for each process, and to the log files."""

    def __init__(self, logs: Path, width: int = 10) -> None:
        self.logs = logs
        self._printer = Printer(output=sys.stdout, width=width)
        self._colours = get_colours()
        self._colour_of: dict[str, str] = {}
        self._files: dict[str, BinaryIO] = {}

    def line(self, name: str, text: str, *, on_screen: bool = True) -> None:
        """Write a line of a process."""
        if on_screen:
            if name not in self._colour_of:
                self._colour_of[name] = next(self._colours)
            self._print(name, text, self._colour_of[name])
        if name not in self._files:
            self._files[name] = self._open(name)
        with suppress(OSError):  # A full disk must not end the service; the terminal still works.
            self._files[name].write(f"{text}\n".encode())
            self._files[name].flush()

    def say(self, text: str) -> None:
        """Print a line of the supervisor."""
        self._print(OWN_NAME, text, None)

    def block(self, lines: list[str]) -> None:
        """Print lines without a prefix, so that people can copy them."""
        with suppress(OSError):
            print("\n".join(lines), flush=True)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _print(self, name: str, text: str, colour: str | None) -> None:
        # The terminal may be gone (a closed window, `make run | head`); the processes must still be stopped in order.
        with suppress(OSError):
            self._printer.write(
                Message(type="line", data=text, time=datetime.now().astimezone(), name=name, colour=colour)
            )

    def _open(self, name: str) -> BinaryIO:
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{name}.log"
        with suppress(FileNotFoundError):
            path.replace(self.logs / f"{name}.log.1")
        return path.open("wb")
