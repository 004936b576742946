"""Workers of a service that tests start, kill and disturb by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from tests.live.service import PROJECT, Service


def start_worker(service: Service, name: str, *, wait: bool = True, **environment: str) -> str:
    """Start one more worker; return its name in the database. `CHAOS_CLOCK` and others: `tests.chaos.planted`."""
    with (service.folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.planted", "worker"],
            cwd=PROJECT,
            env={**service.environment, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    service.processes[name] = process
    if wait:
        wait_until(lambda: "worker_started" in service.log_of(name), name)
        wait_until(lambda: has_reported(service, name), name)
    return name_of(service, name)


def name_of(service: Service, name: str) -> str:
    """Return the name of a worker in the database, an empty text before its first heartbeat."""
    begins = f"worker-{service.processes[name].pid}-"
    found = service.rows("SELECT name FROM agent_sessions_worker WHERE starts_with(name, %s)", begins)
    return str(found[0][0]) if found else ""


def has_reported(service: Service, name: str) -> bool:
    """Return whether the worker has sent a heartbeat."""
    return bool(name_of(service, name))


def kill(service: Service, name: str) -> None:
    """Kill a worker."""
    process = service.processes.pop(name)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def turn(service: Service, key: str) -> dict[str, Any]:
    """Return the newest turn of a session; empty strings while it has none."""
    names = ("status", "attempt", "worker", "lost_leases", "error_code")
    statement = (
        f"SELECT {', '.join(f'turn.{name}' for name in names)} FROM agent_sessions_turn turn"
        " JOIN agent_sessions_session session ON session.id = session_id WHERE key = %s ORDER BY position DESC LIMIT 1"
    )
    rows = service.rows(statement, key)
    return dict(zip(names, rows[0] if rows else [""] * len(names), strict=True))


def wait_until(condition: Any, what: object = "", seconds: float = 120) -> float:
    """Wait until a condition holds; return the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not after {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - started
