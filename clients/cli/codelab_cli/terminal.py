"""The screen of `codelab chat` in a terminal: the conversation scrolls above, the prompt and a status line stay below.

What is printed is printed once, into the terminal's own history; only the last lines, with the text that streams, are
drawn again. So it works in narrow windows, over slow lines and in tmux, and copying text works as everywhere.
"""

import asyncio
import io
import os
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none, run_in_terminal
from prompt_toolkit.completion import Completer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style
from rich.console import Console, RenderableType
from rich.markdown import Markdown
from rich.text import Text

from codelab_cli.cards import diff_lines
from codelab_cli.items import Change, Item, Note, Question, SpeechEnded, UserMessage
from codelab_cli.markdown import split_complete
from codelab_cli.settings import Settings
from codelab_cli.view import View
from codelab_cli.visible import visible
from codelab_client import Event

STYLES = {"info": "dim", "good": "green", "bad": "red", "plan": "cyan"}
PROMPT_STYLE = Style.from_dict(
    {"status": "fg:ansibrightblack", "question": "bold fg:ansiyellow", "live": "fg:ansibrightblack"}
)
#: Two presses within this time leave the program.
QUIT_SECONDS = 2.0


@dataclass(frozen=True)
class Line:
    """What a person has entered."""

    text: str
    #: Entered with the key that lets a message wait for the end of the turn.
    is_queued: bool = False


class Owner(Protocol):
    """Whose screen it is: knows what happens, and stops it."""

    def is_busy(self) -> bool:
        """Return whether a turn is open."""

    def stop(self) -> None:
        """Stop the turn."""

    def live(self) -> str:
        """Return the lines above the prompt that change."""

    def status(self, width: int) -> str:
        """Return the line below the prompt."""


class Terminal:
    """A person's terminal."""

    is_interactive = True

    def __init__(self, settings: Settings, view: View, completer: Completer) -> None:
        self._view, self._markdown = view, settings.markdown
        self._has_color = bool(Console().color_system)
        #: What the prompt asks, where it asks for more than a message.
        self.question = ""
        self.owner: Owner
        self.own_messages: set[str] = set()
        self._free = asyncio.Lock()
        self._pressed_at = -QUIT_SECONDS
        self._is_queued = False
        self._stash = ""
        try:
            settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            history: FileHistory | InMemoryHistory = FileHistory(str(settings.state_dir / "history"))
        except OSError:
            history = InMemoryHistory()
        self._prompt: PromptSession[str] = PromptSession(
            self._message,
            multiline=True,
            completer=completer,
            complete_while_typing=True,
            complete_in_thread=True,
            history=history,
            key_bindings=self._keys(),
            # Nothing here needs the cursor's place, which not every terminal tells.
            output=Vt100_Output(sys.stdout, _size, term=os.environ.get("TERM"), enable_cpr=False),
            style=PROMPT_STYLE,
            enable_suspend=True,
            # The time of a running tool, and a lost connection, have no event.
            refresh_interval=1.0,
            erase_when_done=True,
            reserve_space_for_menu=4,
            prompt_continuation="  ",
        )
        app = self._prompt.app
        app.ttimeoutlen, app.timeoutlen, app.min_redraw_interval = 0.05, 0.3, 0.05

    # Output

    async def show(self, items: Iterable[Item]) -> None:
        """Print items, and of the text that streams what is complete."""
        shown: list[RenderableType] = []
        for item in items:
            match item:
                case SpeechEnded(speech):
                    shown += self._speech(speech.pending)
                    speech.shown = speech.text
                case UserMessage():
                    shown += _user_message(item)
                case Note(text, style):
                    shown.append(Text(visible(text), STYLES[style]))
                case Change(_, diff):
                    shown += diff_lines(diff.splitlines())
                case Question():
                    pass
        if self._view.speech and self._view.speech.pending:
            complete, _ = split_complete(self._view.speech.pending)
            if complete:
                shown += self._speech(complete)
                self._view.speech.shown += complete
        if shown:
            await self.print(*shown)
        self.redraw()

    async def event(self, event: Event) -> None:
        """Draw the status again."""
        self.redraw()

    def _speech(self, text: str) -> list[RenderableType]:
        text = visible(text).strip("\n")
        if not text.strip():
            return []
        return ["", Markdown(text, hyperlinks=False) if self._markdown else Text(text)]

    async def print(self, *renderables: RenderableType) -> None:
        """Print above the prompt."""
        text = self._render(*renderables)
        async with self._free:
            app = get_app_or_none()
            if app is not None and app.is_running:
                await run_in_terminal(lambda: _write(text))
            else:
                _write(text)

    def _render(self, *renderables: RenderableType) -> str:
        # One column stays free: terminals differ in what a full line does.
        width = max(20, shutil.get_terminal_size().columns - 1)
        console = Console(
            file=io.StringIO(),
            force_terminal=True,
            width=width,
            color_system="auto" if self._has_color else None,
            highlight=False,
        )
        with console.capture() as capture:
            for each in renderables:
                console.print(each)
        return capture.get()

    def redraw(self) -> None:
        """Draw the lines below again."""
        self._prompt.app.invalidate()

    # Input

    async def read(self, default: str = "") -> Line | None:
        """Return the next line that a person enters, or None when they leave."""
        self._is_queued = False
        if not default and not self.question:
            default, self._stash = self._stash, ""
        try:
            text = await self._prompt.prompt_async(default=default)
        except EOFError:
            return None
        return Line(text, self._is_queued)

    def set_aside(self) -> None:
        """Take what is half typed out of the way of a question. It comes back at the next prompt without one."""
        buffer = self._prompt.default_buffer
        # Between two prompts the buffer still has the line that was entered.
        if buffer.text and self._prompt.app.is_running:
            self._stash = buffer.text
            buffer.reset()

    async def edit(self, command: list[str]) -> int:
        """Run a person's editor; nothing is printed meanwhile."""
        async with self._free:
            process = await asyncio.create_subprocess_exec(*command)
            return await process.wait()

    def _message(self) -> StyleAndTextTuples:
        columns, rows = shutil.get_terminal_size()
        live = self.owner.live()
        lines = [("class:live", f"{line}\n") for line in live.splitlines()[-max(1, rows - 8) :]] if live else []
        lines.append(("class:status", f"{self.owner.status(columns - 1)}\n"))
        if self.question:
            return [*lines, ("class:question", self.question), ("", "\n❯ ")]
        return [*lines, ("", "❯ ")]

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        mentions = Condition(lambda: "@" in self._prompt.default_buffer.document.current_line_before_cursor[-200:])
        busy = Condition(lambda: self.owner.is_busy())  # noqa: PLW0108  # the owner comes later
        typed = Condition(lambda: bool(self._prompt.default_buffer.text.strip()))

        @keys.add("enter", filter=~has_completions | Condition(self._is_nothing_chosen))
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.document.text_before_cursor.endswith("\\"):
                buffer.delete_before_cursor()
                buffer.insert_text("\n")
            else:
                buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("tab", filter=busy & typed & ~mentions & ~has_completions)
        def _(event: KeyPressEvent) -> None:
            self._is_queued = True
            event.current_buffer.validate_and_handle()

        @keys.add("escape", filter=~has_completions)
        def _(event: KeyPressEvent) -> None:
            if self.owner.is_busy():
                self.owner.stop()

        @keys.add("escape", filter=has_completions)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.cancel_completion()

        @keys.add("c-c")
        def _(event: KeyPressEvent) -> None:
            now = time.monotonic()
            if now - self._pressed_at < QUIT_SECONDS:
                event.app.exit(exception=EOFError())
                return
            self._pressed_at = now
            if self.owner.is_busy():
                self.owner.stop()
            else:
                event.current_buffer.reset()

        return keys

    def _is_nothing_chosen(self) -> bool:
        state = self._prompt.default_buffer.complete_state
        return state is None or state.current_completion is None


def _user_message(item: UserMessage) -> list[RenderableType]:
    mark = "↪ " if item.is_steer else "❯ "
    lines = visible(item.text).split("\n")
    more = [f"  … {len(lines) - 12} more lines"] if len(lines) > 14 else []
    text = "\n".join(["", mark + lines[0], *(f"  {line}" for line in lines[1 : 12 if more else None]), *more])
    if item.images:
        text += f"\n  [{item.images} image{'s' if item.images > 1 else ''}]"
    return [Text(text, "bold")]


def _size() -> Size:
    columns, rows = shutil.get_terminal_size()
    return Size(rows=rows, columns=columns)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
