"""Starts the PostgreSQL and Redis of this test run, before Django reads its settings.

A pytest plugin (`-p tests.servers`), because conftest files come too late for that. Where DATABASE_URL and REDIS_URL
are set, those servers are used instead, as in the workflow on GitHub.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from codelab.local.embedded_servers import PostgresServer, RedisServer

_cleanup = ExitStack()


def start() -> None:
    """Start what is not given, and point the environment at it."""
    folder = Path(tempfile.mkdtemp(prefix="codelab-tests-"))
    _cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    # The environment of whoever runs the tests must not change what they mean.
    for name in [name for name in os.environ if name.startswith(("CODELAB_", "OPENAI_", "PROMETHEUS_", "FLOWER_"))]:
        del os.environ[name]
    # Where nothing may be written beside the sources, each of the hundred processes that tests start would compile all
    # that it imports, which is most of the time that a service takes to start.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = _cleanup.enter_context(PostgresServer(folder / "postgres", durable=False)).url
    if not os.environ.get("REDIS_URL"):
        os.environ["REDIS_URL"] = _cleanup.enter_context(RedisServer(folder / "redis", durable=False)).url
    os.environ |= {
        "CODELAB_DATA_DIR": str(folder / "data"),
        "CODELAB_SECRET_KEY": "a key for tests, which signs nothing that anybody keeps",
        "CODELAB_LOG_FORMAT": "text",
    }


start()


def stop() -> None:
    """Stop the servers and remove their data."""
    _cleanup.close()


def pytest_unconfigure(config: pytest.Config) -> None:
    stop()
