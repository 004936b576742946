"""What a folder's client remembers between its runs: its session, what was shown, a task that is not done.

A run that was killed goes on with it, and no text is shown twice.
"""

import hashlib
import json
import re
import unicodedata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codelab_cli.items import Shown
from codelab_cli.private_files import write_private
from codelab_cli.settings import Settings


@dataclass
class Unsent:
    """A message that the server has not confirmed, or a task of `codelab run` that has not ended."""

    session: str
    text: str
    message_id: str
    images: list[str] = field(default_factory=list)


@dataclass
class FolderState:
    """The content of a folder's file."""

    session: str = ""
    shown: dict[str, Shown] = field(default_factory=dict)
    task: Unsent | None = None
    #: Messages that were entered and that the server may not have.
    outbox: list[Unsent] = field(default_factory=list)


#: Sessions of a folder whose place is kept.
MAX_SESSIONS = 50


class Memory:
    """The memory of one folder at one server."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self._root = root.resolve()
        key = hashlib.sha256(f"{settings.url.rstrip('/')}\n{self._root}".encode()).hexdigest()[:20]
        self._file = settings.state_dir / "folders" / f"{key}.json"
        self._key = key
        self.state = self._load()

    def session_name(self) -> str:
        """Return the session of the folder: the last one, or the one that has its name."""
        return self.state.session or self.default_name()

    def default_name(self) -> str:
        """Return the folder's first session."""
        plain = unicodedata.normalize("NFKC", self._root.name)
        name = re.sub(r"[^\w.-]+", "-", plain).strip("-.")[:60] or "workspace"
        return f"{name}-{self._key[:6]}"

    def shown(self, session: str) -> Shown:
        """Return what was shown of a session."""
        return self.state.shown.get(session) or Shown()

    def remember_shown(self, session: str, shown: Shown) -> None:
        """Note what was shown of a session."""
        others = {name: each for name, each in self.state.shown.items() if name != session}
        while len(others) >= MAX_SESSIONS:
            others.pop(next(iter(others)))
        self.state.shown = others | {session: shown}
        self.save()

    def save(self) -> None:
        """Write the file. A disk that cannot be written costs the memory, not the conversation."""
        state = self.state
        content: dict[str, Any] = {
            "folder": str(self._root),
            "session": state.session,
            "shown": {name: asdict(each) for name, each in state.shown.items()},
            "task": asdict(state.task) if state.task else None,
            "outbox": [asdict(each) for each in state.outbox],
        }
        try:
            write_private(self._file, json.dumps(content))
        except OSError:
            return

    def _load(self) -> FolderState:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            shown = {name: Shown(**each) for name, each in content["shown"].items()}
            task = Unsent(**content["task"]) if content.get("task") else None
            outbox = [Unsent(**each) for each in content["outbox"]]
            return FolderState(content["session"], shown, task, outbox)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return FolderState()
