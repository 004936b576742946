"""The workspace's root, and how everything in it is opened: name by name, relative to descriptors of folders.

No path is checked first and used later. Each folder is opened relative to the one above with O_NOFOLLOW, so a symbolic
link that is put in place between two steps makes the step fail and leads nowhere. A link that is met is read and
followed by hand: only reading tools follow, and only to what is in the root. `..` in a link goes back to the
descriptor of the folder above and is never given to the system. Text of paths is not compared, so disks that ignore
case change nothing.
"""

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Never, Self

from codelab_cli.outcome import ToolFailed
from codelab_cli.tools import paths

#: As the system itself allows.
MAX_LINKS = 40

_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK, to open a FIFO would wait for its writer.
_FILE_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class Links(Enum):
    """What becomes of symbolic links on the way."""

    #: They are followed, as long as they stay in the workspace.
    FOLLOW = "follow"
    #: They are refused with the real path, because people and rules have judged the path that they read.
    REFUSE = "refuse"
    #: The last name may be a link, which is meant itself. Others are refused.
    KEEP_LAST = "keep_last"


class NotFound(ToolFailed):
    """The file or folder does not exist."""


class Place:
    """A name in an open folder of the workspace: what is there now, or where something can be created.

    Closes its descriptors as a context manager.
    """

    def __init__(self, folder: int, name: str, names: Sequence[str], closing: ExitStack) -> None:
        #: Descriptor of the folder that has the name.
        self.folder = folder
        self.name = name
        #: Where it really is, links resolved.
        self.path = paths.join(names)
        self._closing = closing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def stat(self) -> os.stat_result | None:
        """Return what is there, a link itself, or None."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_folder(self) -> bool:
        """Return whether a folder is there."""
        status = self.stat()
        return status is not None and stat.S_ISDIR(status.st_mode)

    def open_folder(self) -> int:
        """Return a new descriptor of the folder that is there. Raises ToolFailed."""
        try:
            return os.open(self.name, _FOLDER_FLAGS, dir_fd=self.folder)
        except OSError as error:
            raise _explain(error, self.path) from None

    def open_file(self) -> int:
        """Return a new descriptor of the regular file that is there, to read it. Raises ToolFailed."""
        status = self.stat()
        if status is None:
            raise NotFound(f"{self.path} does not exist")
        # Before it is opened, because to open a device can have an effect; and again behind it, against a race.
        check_is_file(status, self.path)
        try:
            file = os.open(self.name, _FILE_FLAGS, dir_fd=self.folder)
        except OSError as error:
            raise _explain(error, self.path) from None
        try:
            check_is_file(os.fstat(file), self.path)
        except ToolFailed:
            os.close(file)
            raise
        return file

    def read(self, limit: int) -> bytes:
        """Return the bytes of the regular file that is there. Raises ToolFailed, also beyond the limit."""
        with os.fdopen(self.open_file(), "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ToolFailed(f"{self.path} is larger than {limit // 2**20} MiB; use a command to look at a part of it")
        return content


class Root:
    """The folder that tools work in. The descriptor stays open, so the folder stays the same one."""

    def __init__(self, path: Path) -> None:
        if os.open not in os.supports_dir_fd:
            raise ToolFailed("Tools run on Linux and macOS. On Windows use WSL.")
        self.path = path.resolve(strict=True)
        self.descriptor = os.open(self.path, _FOLDER_FLAGS)

    def close(self) -> None:
        """Close the descriptor; the root cannot be used after it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def place(self, path: str, links: Links) -> Place:
        """Return where a path leads. Raises ToolFailed when that is outside, or a folder on the way is missing."""
        with ExitStack() as closing:
            walk = _Walk(self, path, closing)
            walk.go(links)
            return Place(walk.folder, walk.last, walk.names, closing.pop_all())


class _Walk:
    """One way from the root to a name."""

    def __init__(self, root: Root, path: str, closing: ExitStack) -> None:
        self._root = root
        self._path = path
        self._closing = closing
        self._folders = [root.descriptor]
        #: Real names of the way; one more than folders below the root when the walk has ended at a name.
        self.names: list[str] = []
        self.last = "."

    @property
    def folder(self) -> int:
        """Return the descriptor of the folder that the walk is in."""
        return self._folders[-1]

    def go(self, links: Links) -> None:
        """Walk along the path; its last name need not exist."""
        waiting, followed = deque(paths.split(self._path)), 0
        while waiting:
            name = waiting.popleft()
            if name in ("", "."):
                continue
            if name == "..":
                self._go_up()
                continue
            keeps = links is Links.KEEP_LAST and not waiting
            if not keeps and (target := self._read_link(name)) is not None:
                if links is not Links.FOLLOW:
                    self._refuse()
                followed += 1
                if followed > MAX_LINKS:
                    raise ToolFailed(f"{self._path} has too many symbolic links")
                waiting.extendleft(reversed(target))
                continue
            if not waiting:
                self.names.append(name)
                self.last = name
                return
            self._go_down(name)
        # The way ended in a folder, because a link or the path itself was one.
        self.last = "."

    def _go_down(self, name: str) -> None:
        try:
            descriptor = os.open(name, _FOLDER_FLAGS, dir_fd=self.folder)
        except FileNotFoundError:
            raise NotFound(f"The folder {paths.join([*self.names, name])} does not exist") from None
        except OSError as error:
            raise _explain(error, self._path) from None
        self._closing.callback(os.close, descriptor)
        self._folders.append(descriptor)
        self.names.append(name)

    def _go_up(self) -> None:
        if len(self._folders) == 1:
            raise ToolFailed(f"{self._path} is outside the workspace: a symbolic link in it leads out")
        self._folders.pop()
        self.names.pop()

    def _read_link(self, name: str) -> list[str] | None:
        """Return the names that a link stands for, from the folder that the walk is in then; None if it is no link."""
        try:
            target = os.readlink(name, dir_fd=self.folder)
        except OSError as error:
            # It is not a link, or does not exist. A link that comes now makes the next step fail.
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise _explain(error, self._path) from None
        if not target.startswith("/"):
            return target.split("/")
        try:
            inside = PurePosixPath(target).relative_to(PurePosixPath(self._root.path))
        except ValueError:
            raise ToolFailed(f"{self._path} is outside the workspace: a symbolic link in it leads out") from None
        del self._folders[1:]
        self.names.clear()
        return list(inside.parts)

    def _refuse(self) -> Never:
        with self._root.place(self._path, Links.FOLLOW) as real:
            raise ToolFailed(f"{self._path} leads through a symbolic link. Use the real path: {real.path}")


def check_is_file(status: os.stat_result, path: str) -> None:
    """Raise ToolFailed unless this is a regular file."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise ToolFailed(f"{path} is a folder")
    if stat.S_ISLNK(mode):
        raise ToolFailed(f"{path} has become a symbolic link")
    if not stat.S_ISREG(mode):
        raise ToolFailed(f"{path} is not a regular file but a device, a pipe or a socket")


def _explain(error: OSError, path: str) -> ToolFailed:
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"{path} does not exist")
        case errno.ENOTDIR:
            return ToolFailed(f"{path} does not exist: a part of it is a file and not a folder")
        case errno.ELOOP:
            return ToolFailed(f"{path} has become a symbolic link")
        case _:
            return ToolFailed(f"{path}: {error.strerror}")
