"""The files in which processes share their metrics. A full folder ends no process, and a dead one leaves no figures.

Each process keeps a lock for as long as it lives, also across containers. A process that finds the lock free folds the
files of that process: counters and histograms are added to an archive, because a counter must not fall, and gauges are
dropped. Private names are overridden, read in prometheus-client 0.26.0: `MmapedDict._init_value`, `_capacity`, `_used`,
`_f`, `_positions`; and `values.MmapedDict`. When they change, tests/codelab/test_metric_files.py breaks.
"""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import values
from prometheus_client.mmap_dict import _INITIAL_MMAP_SIZE, MmapedDict

logger = structlog.get_logger(__name__)

#: In the place of a process in the names of files.
ARCHIVE = "archive"
#: Kinds of metrics that outlive their process.
CUMULATIVE = ("counter", "histogram", "summary")
#: Why files cannot be read or written.
FILE_ERRORS = (OSError, struct.error, RuntimeError, ValueError)

_locks: list[Any] = []
#: Where the processes share their metrics; None when this process keeps its own.
_folder: Path | None = None


def share(folder: Path | None) -> None:
    """Keep counters in files in `folder`, shared by all processes. Call it before the first metric is created.

    Without room for them the process counts for itself, and says so.
    """
    global _folder  # noqa: PLW0603 (set once, when the process starts)
    if folder is None:
        return
    # The process id alone is not unique: in containers that share the folder every process may have id 1.
    process = f"{socket.gethostname().replace('_', '-')}-{os.getpid()}"
    try:
        join(folder, process)
    except FILE_ERRORS as error:
        values.ValueClass = values.MutexValue
        logger.warning("metrics_not_shared", folder=str(folder), error=str(error))
    else:
        _folder = folder


def shared() -> Path | None:
    """Return the folder in which this process shares its metrics, None when it keeps its own."""
    return _folder


def join(folder: Path, process: str) -> None:
    """Make metrics that are created from now on share `folder`, under the name of this process. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with _folding(folder):
        # First, because a restarted container can have the same name and process id as before.
        _fold(folder)
        lock = _lock_of(folder, process).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _locks.append(lock)
    # The room that every file needs: otherwise the first metric would find out.
    _Values(str(folder / f"counter_{process}.db")).require_file()
    values.MmapedDict = _Values  # type: ignore[attr-defined, assignment]
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


def fold_dead(folder: Path) -> None:
    """Fold the files of dead processes, unless another process does so now."""
    try:
        with _folding(folder, blocks=False):
            _fold(folder)
    except BlockingIOError:
        pass
    except FILE_ERRORS as error:
        logger.warning("metrics_not_folded", error=type(error).__name__)


class _Values(MmapedDict):
    """Values in a file whose blocks are reserved: a write to a hole of a full disk would end the process by SIGBUS.

    Values without room in the file stay in this process.
    """

    def __init__(self, filename: str) -> None:
        self._private: dict[str, tuple[float, float]] = {}
        self._positions: dict[str, int] = {}
        self._f: Any = None
        try:
            with Path(filename).open("a+b") as file:
                _reserve(file, max(os.fstat(file.fileno()).st_size, _INITIAL_MMAP_SIZE))
            super().__init__(filename)  # type: ignore[no-untyped-call]
        except OSError as error:
            # Readers cannot read an empty file.
            with suppress(OSError):
                Path(filename).unlink()
            self._error = error
            logger.warning("metrics_not_shared", error=error.strerror)

    def require_file(self) -> None:
        """Raise OSError when there is no room for the file."""
        if self._f is None:
            raise self._error

    def read_value(self, key: str) -> tuple[float, float]:
        return super().read_value(key) if self._has_place(key) else self._private[key]  # type: ignore[no-untyped-call]

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if self._has_place(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
        else:
            self._private[key] = (value, timestamp)

    def close(self) -> None:
        if self._f is not None:
            super().close()  # type: ignore[no-untyped-call]

    def _has_place(self, key: str) -> bool:
        """Return whether the file holds the value, after an attempt to give it room there."""
        if key in self._positions:
            return True
        if self._f is None or key in self._private:
            self._private.setdefault(key, (0.0, 0.0))
            return False
        # A value is a length, the key, padding and two doubles.
        capacity, needed = self._capacity, self._used + len(key.encode()) + 32
        while capacity < needed:
            capacity *= 2
        try:
            _reserve(self._f, capacity)
        except OSError as error:
            logger.warning("metrics_not_shared", error=error.strerror)
            self._private[key] = (0.0, 0.0)
            return False
        self._init_value(key)  # type: ignore[no-untyped-call]
        return True


def _reserve(file: Any, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def _fold(folder: Path) -> None:
    living = {path.stem for path in folder.glob("*.alive") if _is_locked(path)}
    for path in sorted(folder.glob("*.db")):
        kind, process = path.stem.split("_", 1)[0], path.stem.rpartition("_")[2]
        if process in living or process == ARCHIVE:
            continue
        if kind in CUMULATIVE:
            _archive(path, folder / f"{kind}_{ARCHIVE}.db")
        path.unlink()
    for path in folder.glob("*.alive"):
        if path.stem not in living:
            path.unlink()


def _archive(path: Path, archive: Path) -> None:
    sums = _Values(str(archive))
    sums.require_file()
    for key, value, _, _ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    sums.close()


@contextmanager
def _folding(folder: Path, *, blocks: bool = True) -> Iterator[None]:
    with (folder / "fold.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if blocks else fcntl.LOCK_NB))
        yield


def _lock_of(folder: Path, process: str) -> Path:
    return folder / f"{process}.alive"


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
