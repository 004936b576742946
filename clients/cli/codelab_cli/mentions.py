"""`@file` in a message: completed while it is typed, and sent with the message as text or as an image."""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from codelab_cli.tools.secrets import is_secret

MENTION = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|([^\s"]+))')
HALF_MENTION = re.compile(r'(?<!\S)@(?:"([^"\n]*)|([^\s"]*))$')
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".webp"}
#: Of one file, and of a message with all of them. A message has at most 100,000 characters.
MAX_FILE_CHARACTERS = 40_000
MAX_MESSAGE_CHARACTERS = 95_000
MAX_IMAGES = 8
#: Listed for completion; more than a person looks through.
MAX_LISTED_FILES = 20_000
SKIPPED_FOLDERS = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache"}


@dataclass
class Message:
    """A message as it is sent."""

    text: str
    images: list[Path] = field(default_factory=list)
    #: What was not included, and why.
    problems: list[str] = field(default_factory=list)


def expand(text: str, root: Path, *, allow_secrets: bool) -> Message:
    """Return the message with the files that it names. A word behind an @ that names no file stays a word."""
    message = Message(text)
    parts: list[str] = []
    seen: set[Path] = set()
    for match in MENTION.finditer(text):
        file = _find(root, match[1] or match[2])
        if file is None or file in seen:
            continue
        seen.add(file)
        name = file.relative_to(root.resolve()).as_posix()
        if not allow_secrets and is_secret(name):
            message.problems.append(f"{name} may hold secrets and was not sent. --allow-secrets sends it.")
        elif file.suffix.lower() in IMAGE_SUFFIXES:
            if len(message.images) < MAX_IMAGES:
                message.images.append(file)
            else:
                message.problems.append(f"{name} was not sent: a message has at most {MAX_IMAGES} images.")
        else:
            room = MAX_MESSAGE_CHARACTERS - len(text) - sum(map(len, parts))
            _include(file, name, room, parts, message.problems)
    message.text = "".join([text, *parts])
    return message


def _find(root: Path, name: str) -> Path | None:
    for candidate in (name, name.rstrip(".,;:!?)")):
        try:
            path = (root / candidate).resolve()
            if candidate and path.is_relative_to(root.resolve()) and path.exists():
                return path
        except (OSError, ValueError):
            continue
    return None


def _include(file: Path, name: str, room: int, parts: list[str], problems: list[str]) -> None:
    try:
        if file.is_dir():
            content = "\n".join(sorted(each.name + ("/" if each.is_dir() else "") for each in file.iterdir())[:500])
        else:
            with file.open("rb") as opened:
                content = opened.read(4 * MAX_FILE_CHARACTERS).decode("utf-8")
    except UnicodeDecodeError:
        problems.append(f"{name} is not a text file and was not sent.")
        return
    except OSError as error:
        problems.append(f"{name} was not sent: {error.strerror}.")
        return
    if len(content) > min(room - 200, MAX_FILE_CHARACTERS):
        problems.append(f"{name} is too long for the message; the agent can read it with its tools.")
        return
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", content)), default=0))
    parts.append(f"\n\n{name}:\n{fence}\n{content.rstrip(chr(10))}\n{fence}")


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


def list_files(root: Path) -> list[str]:
    """Return the files of a workspace, those that git ignores left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, timeout=5, check=True)
        return sorted(filter(None, done.stdout.decode("utf-8", "replace").split("\0")))[:MAX_LISTED_FILES]
    except (OSError, subprocess.SubprocessError):
        return sorted(_walk(root))


def _walk(root: Path) -> Iterator[str]:
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in files:
            yield (Path(folder) / name).relative_to(root).as_posix()
            count += 1
            if count >= MAX_LISTED_FILES:
                return
