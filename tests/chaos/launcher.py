"""Starts processes of the service quickly, again and again: `python -m tests.chaos.launcher web|worker`.

A worker needs many seconds to import LiteLLM, and a run starts hundreds of processes. This one imports foreign packages
once and forks; all code of the service is imported and set up anew in each child, which is killed like any other. It
reads one JSON line for each process to start and answers with the process id. Children end when it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback

from codelab.local.operating_system import end_with_parent

#: Modules that take most of a process's start. None of them starts a thread, makes an id, opens a connection or reads
#: settings on import, because children would share it.
PACKAGES = {
    "web": """
        django.db.models django.db.backends.postgresql.base django.db.migrations.executor django.forms django.http
        django.shortcuts django.template.loader django.template.backends.django django.urls django.views.generic
        django.core.management django.core.handlers.asgi django.core.handlers.wsgi django.core.serializers.json
        django.core.files.storage django.core.cache.backends.locmem django.contrib.admin.utils
        django.contrib.auth.hashers django.contrib.messages.middleware django.contrib.staticfiles.finders
        django.middleware.csrf django.middleware.common django.middleware.security django.middleware.clickjacking
        django.test.signals django.utils.translation sqlparse prometheus_client.multiprocess pydantic_settings httpx
        psycopg_pool redis.asyncio structlog unittest.mock email.mime.text channels.generic.websocket channels.layers
        channels_redis.pubsub celery.app.base celery.bin.celery kombu.transport.redis autobahn.twisted.websocket
        service_identity h2.connection jinja2 cryptography.x509 OpenSSL.SSL
    """,
    "worker": "celery.apps.worker celery.worker.components celery.concurrency.thread flower.command tornado.web",
}


def main() -> None:
    """Serve until standard input ends."""
    kinds = ["web", "worker"] if sys.argv[1:] == ["worker"] else ["web"]
    for name in " ".join(PACKAGES[kind] for kind in kinds).split():
        importlib.import_module(name)
    if "worker" in kinds:
        from llm.calls import preload

        # The model's provider in the stack of the runs (tests/chaos/stack.py).
        preload("openai/fake")
    assert threading.active_count() == 1, "threads do not survive a fork"
    # The kernel reaps children; the parent of this process watches them by their process id.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        wish = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(wish["arguments"], wish["environment"], wish["log"])
        print(pid, flush=True)


def child(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Become a process of the service; never return."""
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
