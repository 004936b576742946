"""What is completed while a message is typed."""

import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from codelab_cli.mentions import list_files

HALF_MENTION = re.compile(r'(?<!\S)@(?:"([^"\n]*)|([^\s"]*))$')


class MentionCompleter(Completer):
    """Completes names of files behind an @, and commands behind a slash at the beginning of a line."""

    def __init__(self, root: Path, commands: dict[str, str]) -> None:
        self._root, self._commands = root, commands
        self._files: list[str] = []
        self._read_at = 0.0

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what fits what is typed."""
        before = document.text_before_cursor
        if before.startswith("/") and " " not in before:
            for name, meaning in self._commands.items():
                if name.startswith(before):
                    yield Completion(name, -len(before), display_meta=meaning)
        elif match := HALF_MENTION.search(before):
            typed = match[1] if match[1] is not None else match[2]
            for name in self._matching(typed):
                quoted = f'"{name}"' if " " in name else name
                yield Completion(f"@{quoted}", match.start() - len(before), display=name)

    def _matching(self, typed: str) -> Iterator[str]:
        wanted = typed.lower()
        starts = [name for name in self._listed() if name.lower().startswith(wanted)]
        yield from starts[:50]
        found = set(starts)
        yield from [name for name in self._listed() if wanted in name.lower() and name not in found][: 50 - len(starts)]

    def _listed(self) -> list[str]:
        if time.monotonic() - self._read_at > 5:
            self._files, self._read_at = list_files(self._root), time.monotonic()
        return self._files
