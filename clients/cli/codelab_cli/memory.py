"""What a folder's client remembers between its runs: its session, what was shown, a task that is not done.

A run that was killed goes on with it, and no text is shown twice. Several clients may work in one folder: each writes
what it has changed itself.
"""

import hashlib
import json
import re
import unicodedata
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

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
    #: Tasks of `codelab run` that have not ended, by session.
    tasks: dict[str, Unsent] = field(default_factory=dict)
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
        #: What of it is in the file already.
        self._written = deepcopy(self.state)

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
        # At the end: the first ones are forgotten first.
        self.state.shown = {name: each for name, each in self.state.shown.items() if name != session} | {session: shown}
        self.save()

    def save(self) -> None:
        """Write what has changed. A disk that cannot be written costs the memory, not the conversation."""
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(self._file.parent.with_suffix(".lock")):
                self._write(_merged(self._written, self.state, self._load()))
            self._written = deepcopy(self.state)

    def _write(self, state: FolderState) -> None:
        content: dict[str, Any] = {
            "folder": str(self._root),
            "session": state.session,
            "shown": {name: asdict(each) for name, each in state.shown.items()},
            "tasks": {name: asdict(each) for name, each in state.tasks.items()},
            "outbox": [asdict(each) for each in state.outbox],
        }
        write_private(self._file, json.dumps(content))

    def _load(self) -> FolderState:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            shown = {name: Shown(**each) for name, each in content["shown"].items()}
            tasks = {name: Unsent(**each) for name, each in content["tasks"].items()}
            outbox = [Unsent(**each) for each in content["outbox"]]
            return FolderState(content["session"], shown, tasks, outbox)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return FolderState()


def _merged(before: FolderState, mine: FolderState, theirs: FolderState) -> FolderState:
    """Return what is in the file, with what this process has changed since it read or wrote it."""
    sent = {each.message_id for each in before.outbox} - {each.message_id for each in mine.outbox}
    known = sent | {each.message_id for each in theirs.outbox}
    return FolderState(
        mine.session if mine.session != before.session else theirs.session,
        _merged_tables(before.shown, mine.shown, theirs.shown),
        _merged_tables(before.tasks, mine.tasks, theirs.tasks),
        [each for each in theirs.outbox if each.message_id not in sent]
        + [each for each in mine.outbox if each.message_id not in known],
    )


def _merged_tables[Value](
    before: dict[str, Value], mine: dict[str, Value], theirs: dict[str, Value]
) -> dict[str, Value]:
    changed = {name: each for name, each in mine.items() if each != before.get(name)}
    gone = before.keys() - mine.keys()
    kept = {name: each for name, each in theirs.items() if name not in changed and name not in gone}
    newest = list((kept | changed).items())[-MAX_SESSIONS:]
    return dict(newest)
