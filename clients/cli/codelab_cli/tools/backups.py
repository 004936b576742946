"""Copies of files that write_file replaces. They are kept outside of the workspace, so that no commit takes them."""

import os
import time
from contextlib import suppress
from pathlib import Path

#: All copies of one workspace; the oldest go first.
MAX_BACKUPS = 200
MAX_BACKUP_BYTES = 200 * 2**20


class Backups:
    """A folder of copies, bounded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, path: str, content: bytes) -> str:
        """Store the content that a file has had; return where."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The time in front makes names sort by age.
        name = f"{time.time_ns():020}-{path.rpartition('/')[2][-50:]}"
        target = self._folder / name
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
        self._clean_up(keep=name)
        return str(target)

    def _clean_up(self, *, keep: str) -> None:
        left = MAX_BACKUP_BYTES
        for place, file in enumerate(sorted(self._folder.iterdir(), reverse=True)):
            with suppress(OSError):
                left -= file.stat().st_size
                if file.name != keep and (place >= MAX_BACKUPS or left < 0):
                    file.unlink()
