"""Functions of the operating system: ports, users, private files, and children that end with their parent."""

import ctypes
import errno
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

#: From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
# Loaded here because nothing may be loaded between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

LOOPBACK = "127.0.0.1"


class StartupError(Exception):
    """The service cannot start; the text is for the person at the terminal, instead of a traceback."""


def end_with_parent(signum: signal.Signals) -> None:
    """Have the kernel send `signum` to this process when its parent ends, in whatever way (Linux only)."""
    if _libc:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signum))


def tie_to_parent(signum: signal.Signals) -> Callable[[], None]:
    """Return a `preexec_fn` with which the kernel sends the child `signum` when the calling thread ends."""
    parent = os.getpid()

    def between_fork_and_exec() -> None:
        end_with_parent(signum)
        if os.getppid() != parent:
            os._exit(1)

    return between_fork_and_exec


def owner_for_servers(folder: Path) -> tuple[int, int] | None:
    """Return the uid and gid of servers with data in `folder`, None for those of this process.

    PostgreSQL refuses to run as root. Root therefore starts servers as the owner of the data, else as "nobody".
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def as_user(user: tuple[int, int] | None, death_signal: signal.Signals) -> list[str]:
    """Return the prefix with which a command runs as `user` and gets `death_signal` when its parent ends."""
    if user is None:
        return []
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise StartupError(
            "PostgreSQL does not run as root, and setpriv (package util-linux), which starts it as another user, is "
            "missing: install it, or use an ordinary account."
        )
    return [
        setpriv,
        f"--reuid={user[0]}",
        f"--regid={user[1]}",
        "--clear-groups",
        # The programs and the data may be in a folder that only root can enter, such as /root.
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=+dac_override",
        # PostgreSQL calls access(2) for its own programs, which ignores the capability without this bit.
        "--securebits=+no_setuid_fixup",
        # Changing the user cleared the signal that `tie_to_parent` set.
        f"--pdeathsig={death_signal.name.removeprefix('SIG')}",
        "--",
    ]


def port_problem(host: str, port: int) -> str | None:
    """Return why a server cannot listen on this address, None when it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections of an earlier run that are still in TIME_WAIT do not matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is in use"
        return f"cannot be used on {host} ({error.strerror or error})"
    return None


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process, empty when it has ended or is a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            text = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        except OSError:
            return []
        return text.rstrip("\0").split("\0") if text else []
    listing = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listing.stdout.split()


def write_private(path: Path, text: str) -> None:
    """Write a file that only the owner of its folder can read. An interrupted write leaves the old file."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    # Created with these permissions, so that others can never open it.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(draft, folder.st_uid, folder.st_gid)
    draft.replace(path)
