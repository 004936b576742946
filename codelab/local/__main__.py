"""Entry of `make run`: explains in one sentence what cannot work, or starts and supervises everything."""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codelab.environment import Environment, environment
from codelab.local.operating_system import LOOPBACK, StartupError, end_with_parent, port_problem
from codelab.local.output import Output
from codelab.local.startup import Startup, address
from codelab.local.supervisor import Supervisor, supervise
from codelab.local.terminal import own_foreground


@contextmanager
def only_run(folder: Path, url: str) -> Iterator[None]:
    """Lock a data folder; the kernel releases the lock however this process ends."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "run.lock").open("a+")
    except OSError as error:
        raise StartupError(
            f"The data folder {folder} cannot be written ({error.strerror}): "
            f"set CODELAB_DATA_DIR to a folder that you own."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartupError(f"Already running ({lock.read().strip() or 'just starting'}).") from None
        lock.truncate(0)
        lock.write(f"pid {os.getpid()}, {url}\n")
        lock.flush()
        yield


def check_ports(settings: Environment) -> None:
    """Raise `StartupError` when a configured port is not available."""
    wanted = [("PORT", settings.host, settings.port), ("FLOWER_PORT", settings.flower_host, settings.flower_port)]
    if settings.postgres_port and not settings.database_url:
        wanted.append(("POSTGRES_PORT", LOOPBACK, settings.postgres_port))
    if settings.redis_port and not settings.redis_url:
        wanted.append(("REDIS_PORT", LOOPBACK, settings.redis_port))
    names: dict[int, str] = {}
    for name, host, port in wanted:
        if port in names:
            raise StartupError(f"{names[port]} and {name} are both {port}: change one of them.")
        names[port] = name
        problem = port_problem(host, port)
        if problem == "is in use":
            reserved = {number for _, _, number in wanted}
            nearby = range(port + 1, min(port + 100, 65536))
            other = next(
                (number for number in nearby if number not in reserved and not port_problem(host, number)), 8080
            )
            raise StartupError(
                f"Port {port} is in use: stop the program that uses it, or run `make run {name}={other}`."
            )
        if problem:
            raise StartupError(
                f"Port {port} {problem}: set {name}, or its host, to something available on this machine."
            )


def main() -> int:
    started_at = time.monotonic()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: sys.exit(0))
    if "MAKELEVEL" in os.environ:
        # A killed make cannot pass the signal on. Without make, the parent may end before this process on purpose.
        end_with_parent(signal.SIGTERM)
    url = f"http://{address(environment.host, environment.port)}/"
    output = Output(environment.data_dir / "logs")
    supervisor = Supervisor(output)
    try:
        with only_run(environment.data_dir, url), own_foreground():
            check_ports(environment)
            code = asyncio.run(supervise(supervisor, Startup(environment, supervisor, started_at)))
            output.say("Stopped.")
            return code
    except StartupError as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        output.close()


if __name__ == "__main__":
    sys.exit(main())
