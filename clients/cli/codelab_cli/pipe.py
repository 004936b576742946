"""The screen of `codelab chat` without a terminal: each line is a message or an answer, and text comes out."""

import asyncio
import sys
import threading
from collections.abc import Iterable

from rich.console import Console, RenderableType

from codelab_cli.cards import diff_lines
from codelab_cli.items import Change, Item, Note, Question, SpeechEnded, UserMessage
from codelab_cli.terminal import Line, Owner
from codelab_cli.view import View
from codelab_cli.visible import visible
from codelab_client import Event


class Pipe:
    """Standard input and output that are files or pipes."""

    is_interactive = False

    def __init__(self, view: View) -> None:
        self._view = view
        self.question = ""
        self.owner: Owner
        self.own_messages: set[str] = set()
        self._changed = asyncio.Event()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._is_line_begun = False
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        loop = asyncio.get_running_loop()
        # A thread, because a file cannot be waited for; it must not keep the program alive.
        threading.Thread(target=_read_lines, args=(loop, self._lines), daemon=True).start()

    async def show(self, items: Iterable[Item]) -> None:
        """Print items, then the text that streams as far as it is."""
        for item in items:
            match item:
                case SpeechEnded(speech):
                    self._stream(speech.pending)
                    speech.shown = speech.text
                    self._end_line()
                case UserMessage(text, message_id) if message_id not in self.own_messages:
                    self._put(f"> {visible(text)}")
                case Note(text):
                    self._put(f"· {visible(text)}")
                case Change(_, diff):
                    await self.print(*diff_lines(diff.splitlines()))
                case Question() | UserMessage():
                    pass
        if self._view.speech and self._view.speech.pending:
            self._stream(self._view.speech.pending)
            self._view.speech.shown = self._view.speech.text

    async def event(self, event: Event) -> None:
        """Let the reader of lines look again."""
        self._changed.set()

    async def print(self, *renderables: RenderableType) -> None:
        """Print above the next line."""
        self._end_line()
        for each in renderables:
            self._console.print(each)
        sys.stdout.flush()

    def redraw(self) -> None:
        """Let the reader of lines look again."""
        self._changed.set()

    async def read(self, default: str = "") -> Line | None:
        """Return the next line when it is its turn: behind the end of the turn before it, or at a question."""
        line = await self._lines.get()
        while line is not None and line.endswith("\\"):
            more = await self._lines.get()
            line = line[:-1] + "\n" + (more or "")
        while self.owner.is_busy() and not self.question:
            self._changed.clear()
            await self._changed.wait()
        if line is None:
            # The end stays the end, however often it is read.
            self._lines.put_nowait(None)
            return None
        return Line(line)

    def set_aside(self) -> None:
        """Do nothing: a line is read when it is its turn."""

    async def edit(self, command: list[str]) -> int:
        """Refuse to open an editor."""
        return 1

    def _stream(self, text: str) -> None:
        if text:
            sys.stdout.write(visible(text))
            sys.stdout.flush()
            self._is_line_begun = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._is_line_begun:
            self._is_line_begun = False
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _put(self, text: str) -> None:
        self._end_line()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _read_lines(loop: asyncio.AbstractEventLoop, lines: "asyncio.Queue[str | None]") -> None:
    try:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\r\n"))
    finally:
        loop.call_soon_threadsafe(lines.put_nowait, None)
