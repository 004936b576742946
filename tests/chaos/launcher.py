"""Starts processes of the service quickly, again and again: `python -m tests.chaos.launcher web|worker`.

A worker needs many seconds of both cores to import LiteLLM. This process imports the foreign packages once and forks;
all code of the service itself is imported and set up anew in each child, which is then killed like any other. It
reads one JSON line for each process to start and answers with the process id. Children end when it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback

from codelab.local.system import end_with_parent

#: Nothing here starts a thread, makes an id or opens a connection when it is imported: children would share it.
PACKAGES = ("django.db", "pydantic_settings", "httpx", "psycopg_pool", "redis.asyncio", "celery.app.base", "structlog")


def main() -> None:
    """Serve until standard input ends."""
    for package in PACKAGES:
        importlib.import_module(package)
    if sys.argv[1:] == ["worker"]:
        from llm.gateway import preload

        preload()
    # The kernel reaps children; who started them watches them by their process id.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        wish = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(wish["arguments"], wish["environment"], wish["log"])
        print(pid, flush=True)


def child(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Become a process of the service; never returns."""
    code = 1
    try:
        os.setsid()
        end_with_parent(signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, target in enumerate((null, file, file)):
            os.dup2(target, number)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["codelab", *arguments]
        from tests.chaos import planted

        planted.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
