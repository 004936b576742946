"""Entry of `make run`: refuses what cannot work with one sentence, then starts and supervises everything."""

from __future__ import annotations

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
from codelab.local.output import Output
from codelab.local.startup import Startup, address
from codelab.local.supervisor import Supervisor, supervise
from codelab.local.system import LOOPBACK, Problem, end_with_parent, port_problem
from codelab.local.terminal import own_foreground


@contextmanager
def only_run(folder: Path, url: str) -> Iterator[None]:
    """Hold the lock of a data folder, which the kernel gives back however this process ends."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "run.lock").open("a+")
    except OSError as error:
        raise Problem(
            f"The data folder {folder} cannot be written ({error.strerror}): "
            f"set CODELAB_DATA_DIR to a folder that you own."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Problem(f"Already running ({lock.read().strip() or 'just starting'}).") from None
        lock.truncate(0)
        lock.write(f"pid {os.getpid()}, {url}\n")
        lock.flush()
        yield


def check_ports(settings: Environment) -> None:
    """Raise `Problem` when a port that was asked for cannot be had."""
    asked = [("PORT", settings.host, settings.port), ("FLOWER_PORT", settings.flower_host, settings.flower_port)]
    if settings.postgres_port and not settings.database_url:
        asked.append(("POSTGRES_PORT", LOOPBACK, settings.postgres_port))
    if settings.redis_port and not settings.redis_url:
        asked.append(("REDIS_PORT", LOOPBACK, settings.redis_port))
    names: dict[int, str] = {}
    for name, host, port in asked:
        if port in names:
            raise Problem(f"{names[port]} and {name} are both {port}: give one of them another number.")
        names[port] = name
        problem = port_problem(host, port)
        if problem == "is in use":
            taken = {number for _, _, number in asked}
            nearby = range(port + 1, min(port + 100, 65536))
            other = next((number for number in nearby if number not in taken and not port_problem(host, number)), 8080)
            raise Problem(f"Port {port} is in use: stop what listens there or run `make run {name}={other}`.")
        if problem:
            raise Problem(f"Port {port} {problem}: set {name}, or the address, to what this machine can give.")


def main() -> int:
    started_at = time.monotonic()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: sys.exit(0))
    if "MAKELEVEL" in os.environ:
        # A killed make cannot pass anything on. Whoever starts this module directly may well mean to end before it.
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
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    finally:
        output.close()


if __name__ == "__main__":
    sys.exit(main())
