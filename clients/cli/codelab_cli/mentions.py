"""`@file` in a message: the file is sent with the message, as text or as an image."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codelab_cli.tools.secrets import is_key, is_secret
from codelab_cli.tools.shells import environment

MENTION = re.compile(r'(?<!\S)@(?:"([^"\n]+)"|([^\s"]+))')
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
            _include(file, name, room, parts, message.problems, allow_secrets=allow_secrets)
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


def _include(file: Path, name: str, room: int, parts: list[str], problems: list[str], *, allow_secrets: bool) -> None:
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
    if not allow_secrets and is_key(content.encode()):
        problems.append(f"{name} is a private key and was not sent. --allow-secrets sends it.")
        return
    if len(content) > min(room - 200, MAX_FILE_CHARACTERS):
        problems.append(f"{name} is too long for the message; the agent can read it with its tools.")
        return
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", content)), default=0))
    parts.append(f"\n\n{name}:\n{fence}\n{content.rstrip(chr(10))}\n{fence}")


def list_files(root: Path) -> list[str]:
    """Return the files of a workspace, those that git ignores left out."""
    # Programs that the configuration of a repository names are not run, and nothing runs with secrets.
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    variables = environment(os.environ, str(root), allow_secrets=False)
    try:
        done = subprocess.run(command, cwd=root, env=variables, capture_output=True, timeout=5, check=True)
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
