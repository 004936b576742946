"""Starts the PostgreSQL and Redis of this test run, before Django reads its settings.

A pytest plugin (`-p tests.servers`), because conftest files come too late for that. Where DATABASE_URL and REDIS_URL
are set, the tests use those servers instead, as in the workflow on GitHub.

Where pytest-xdist runs tests in several processes, its controller starts the servers and the others inherit them. Each
has its own database and Redis number. A separate PostgreSQL would cost each process two seconds of processor time, and
separate migrations another four.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from codelab.local.embedded_servers import PostgresServer, RedisServer
from tests.ports import free_port

#: The name that pytest-xdist gives to this process; "" in its controller, and without xdist.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
#: Databases of the Redis started here. Each process that runs tests takes one, and each service too.
REDIS_DATABASES = 64
#: The standard error of the run. pytest replaces it later.
STDERR = os.dup(2)
BYTECODE = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"

_cleanup = ExitStack()


class _Postgres(PostgresServer):
    def command(self) -> list[str]:
        return [*super().command(), "-c", "max_connections=500"]


class _Redis(RedisServer):
    def command(self) -> list[str]:
        return [*super().command(), "--databases", str(REDIS_DATABASES)]


def start() -> None:
    """Start the servers that the environment does not name, and set their URLs in it."""
    # The user's environment must not change what the tests mean.
    for name in [name for name in os.environ if name.startswith(("CODELAB_", "OPENAI_", "PROMETHEUS_", "FLOWER_"))]:
        del os.environ[name]
    if WORKER:
        os.environ["REDIS_URL"] = _cleanup.enter_context(redis_database())
    else:
        _start_servers()
    os.environ |= {
        "CODELAB_DATA_DIR": str(folder() / f"data{WORKER}"),
        "CODELAB_SECRET_KEY": "a key for tests, which signs nothing that anybody keeps",
        "CODELAB_LOG_FORMAT": "text",
        # Tests count what providers are asked; titles have tests of their own.
        "CODELAB_TITLE_MODEL": "off",
    }


def _start_servers() -> None:
    os.environ["TESTS_FOLDER"] = tempfile.mkdtemp(prefix="codelab-tests-")
    _cleanup.callback(shutil.rmtree, folder(), ignore_errors=True)
    # Without bytecode, each of the hundred processes that tests start would compile all its imports, which
    # takes longer than the rest of a service's start. Where Python may not write bytecode beside the sources, it goes
    # to pytest's cache.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    if not os.environ.get("DATABASE_URL"):
        postgres = _Postgres(folder() / "postgres", port=free_port(), durable=False)
        os.environ["DATABASE_URL"] = _cleanup.enter_context(postgres).url
    if not os.environ.get("REDIS_URL"):
        redis = _Redis(folder() / "redis", port=free_port(), durable=False)
        os.environ["REDIS_URL"] = _cleanup.enter_context(redis).url


def folder() -> Path:
    """Return the folder that the processes of this test run share."""
    return Path(os.environ["TESTS_FOLDER"])


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of this name, which all processes of this test run share."""
    with (folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def redis_database(seconds: float = 60) -> Iterator[str]:
    """Lend the URL of an empty Redis database that no other part of this test run uses."""
    server = os.environ["REDIS_URL"].rpartition("/")[0]
    with Redis.from_url(f"{server}/0") as client:
        numbers = int(client.config_get("databases")["databases"])
    deadline = time.monotonic() + seconds
    with ExitStack() as taken:
        while True:
            # Number 0 belongs to the controller.
            for number in range(1, numbers):
                file = (folder() / f"redis-{number}.lock").open("w")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    continue
                taken.enter_context(file)
                with Redis.from_url(f"{server}/{number}") as client:
                    client.flushdb()
                yield f"{server}/{number}"
                return
            assert time.monotonic() < deadline, f"all {numbers} databases of Redis are in use"
            time.sleep(0.1)


start()


def stop() -> None:
    """Stop the servers and remove their data."""
    _cleanup.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    stop()
