"""A walk through folders for tools that list and search: in order, within bounds, and without what git ignores.

Symbolic links are shown and never followed. Folders are opened by descriptor, like everything in the workspace.
"""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools.paths import fold
from codelab_cli.tools.root import Links, Place, Root

#: Never walked into: history and installed programs.
SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", ".jj", "node_modules"})
MAX_ENTRIES = 200_000
MAX_DEPTH = 100
MAX_SECONDS = 15.0
#: Patterns become regular expressions, which take exponential time in their stars. Real ones have fewer.
MAX_STARS_IN_NAME = 3
MAX_IGNORE_BYTES = 256 * 1024
MAX_IGNORE_LINES = 2_000


@dataclass(slots=True)
class Entry:
    """A file, folder or link that a walk has met."""

    #: From the root.
    path: str
    name: str
    status: os.stat_result
    #: Descriptor of the folder that has it, open until the walk goes on.
    folder: int

    @property
    def is_folder(self) -> bool:
        """Return whether it is a folder, and no link to one."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Return whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)


@dataclass(slots=True)
class Walk:
    """One walk. Read `is_cut` and `ignored` when it has ended."""

    root: Root
    recursive: bool = True
    include_hidden: bool = True
    max_depth: int = MAX_DEPTH
    max_seconds: float = MAX_SECONDS
    #: A bound was met, so there is more than was walked.
    is_cut: bool = False
    #: How many entries git ignores.
    ignored: int = 0
    #: What the paths of entries begin with; patterns are about the rest.
    base: str = ""
    _seen: int = 0
    _deadline: float = field(default=0.0)

    def go(self, path: str) -> Iterator[Entry]:
        """Yield what is in a folder, each folder before what is in it. Raises ToolFailed."""
        self._deadline = time.monotonic() + self.max_seconds
        with self.root.place(path, Links.FOLLOW) as place:
            if place.stat() is None:
                raise ToolFailed(f"{path} does not exist")
            if not place.is_folder():
                raise ToolFailed(f"{path} is a file and not a folder")
            ignores = _Ignores.above(self.root, place)
            folder = place.open_folder()
            try:
                self.base = "" if place.path == "." else f"{place.path}/"
                yield from self._folder(folder, self.base, ignores, 1)
            finally:
                os.close(folder)

    def _folder(self, folder: int, base: str, ignores: "_Ignores", depth: int) -> Iterator[Entry]:
        ignores = ignores.with_file(folder, base)
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return
        for name in names:
            self._seen += 1
            if self._seen > MAX_ENTRIES or time.monotonic() > self._deadline:
                self.is_cut = True
                return
            if not self.include_hidden and name.startswith("."):
                continue
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except OSError:
                continue
            entry = Entry(base + name, name, status, folder)
            if ignores.has(entry.path, is_folder=entry.is_folder):
                self.ignored += 1
                continue
            yield entry
            if entry.is_folder and self.recursive and fold(name) not in SKIPPED_FOLDERS:
                if depth >= self.max_depth:
                    self.is_cut = True
                    continue
                yield from self._enter(entry, ignores, depth + 1)

    def _enter(self, entry: Entry, ignores: "_Ignores", depth: int) -> Iterator[Entry]:
        try:
            folder = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=entry.folder)
        except OSError:
            return
        try:
            yield from self._folder(folder, f"{entry.path}/", ignores, depth)
        finally:
            os.close(folder)


class _Ignores:
    """The .gitignore files from the root down to a folder."""

    def __init__(self, specs: tuple[tuple[str, GitIgnoreSpec], ...] = ()) -> None:
        self._specs = specs

    @classmethod
    def above(cls, root: Root, place: Place) -> "_Ignores":
        """Return those above a folder; none if git ignores the folder itself, because then it was asked for by name."""
        ignores = cls()
        base = ""
        names = [] if place.path == "." else place.path.split("/")
        for name in names:
            with root.place(base.rstrip("/") or ".", Links.FOLLOW) as above:
                folder = above.open_folder()
            try:
                ignores = ignores.with_file(folder, base)
            finally:
                os.close(folder)
            if ignores.has(base + name, is_folder=True):
                return cls()
            base += f"{name}/"
        return ignores

    def with_file(self, folder: int, base: str) -> "_Ignores":
        """Return these and what the .gitignore of a folder says; in the root also `.git/info/exclude`."""
        names = (".gitignore",) if base else (".git/info/exclude", ".gitignore")
        lines = [line for name in names for line in _read_lines(folder, name)]
        if not lines:
            return self
        return _Ignores((*self._specs, (base, GitIgnoreSpec.from_lines(lines))))

    def has(self, path: str, *, is_folder: bool) -> bool:
        """Return whether git ignores a path; a file further down decides before one above."""
        for base, spec in reversed(self._specs):
            decided = spec.check_file(path[len(base) :] + ("/" if is_folder else "")).include
            if decided is not None:
                return decided
        return False


def _read_lines(folder: int, name: str) -> list[str]:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return []
    with os.fdopen(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return []
        lines = stream.read(MAX_IGNORE_BYTES).decode(errors="replace").splitlines()
    return [line for line in lines[:MAX_IGNORE_LINES] if _is_simple(line)]


def _is_simple(line: str) -> bool:
    return len(line) <= 1000 and all(name.count("*") <= MAX_STARS_IN_NAME for name in line.split("/"))
