"""`python -m codelab PROCESS` starts one of the service's processes; `make run`, containers and tests all use it.

web      Daphne: chat page, API, WebSocket, admin, metrics
worker   Celery worker that runs turns
beat     Celery beat: schedules the cleanup tasks
flower   web page that shows Celery's jobs
"""

import os
import secrets
import sys
import warnings
from typing import Any

from codelab import memory
from codelab.environment import environment

USAGE = "Usage: python -m codelab web|worker|beat|flower"


def web() -> None:
    """Serve HTTP and WebSocket in this process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    from codelab.web_server import WebServer  # isort: skip  (it installs Twisted's reactor)
    from codelab.asgi import application
    from codelab.checks import require_settings

    require_settings()
    host = environment.host.replace(":", r"\:")
    server = WebServer(
        application,
        endpoints=[f"tcp:port={environment.port}:interface={host}"],
        # Pings are most of what an idle socket costs, and proxies close a connection that is silent for a minute.
        ping_interval=30,
        # Longer than a turn, so that no answer is cut off. Clients reconnect streams of events themselves.
        http_timeout=max(600, int(environment.turn_timeout) + 60),
        server_name="codelab",
        proxy_forwarded_address_header="X-Forwarded-For" if environment.https else None,
    )
    memory.settle()
    server.run()


def worker() -> None:
    """Run turns in this process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    from celery.bin.worker import worker as command

    from codelab.checks import require_settings

    require_settings()
    from codelab.celery import app

    # Celery warns about root because of pickle; this project accepts only JSON.
    warnings.filterwarnings("ignore", message=".*superuser privilege", category=UserWarning)
    # RabbitMQ lets only one worker of each name in, and machines run several.
    name = f"--hostname=worker-{os.getpid()}-{secrets.token_hex(3)}@%h"
    _run(command, app, name, "--queues=turns,upkeep", "--without-gossip", "--without-mingle", "--loglevel=INFO")


def beat() -> None:
    """Schedule the cleanup tasks."""
    from codelab.light_celery import app, load

    schedule = environment.data_dir / "celerybeat-schedule"
    schedule.parent.mkdir(parents=True, exist_ok=True)
    load()
    app.Beat(schedule=str(schedule), quiet=True, loglevel="INFO").run()


def flower() -> None:
    """Serve the page that shows Celery's jobs, behind a password."""
    if environment.flower_password is None:
        sys.exit("Flower can show and end jobs: set FLOWER_PASSWORD before you start it.")
    # In the environment, because other users of the machine can read arguments.
    os.environ["FLOWER_BASIC_AUTH"] = f"admin:{environment.flower_password.get_secret_value()}"
    # 2.6 KiB each. Flower's own limit is ten times as many, a quarter of a GiB; the admin has every turn.
    os.environ.setdefault("FLOWER_MAX_TASKS", "10000")
    from codelab import metric_files
    from codelab.light_celery import app, load

    # Before Flower creates its metrics.
    metric_files.share(environment.metrics_dir)
    from flower.command import flower as command

    from codelab.flower import pages, tasks

    pages.install()
    tasks.register(app)
    load()
    _run(command, app, f"--address={environment.flower_host}", f"--port={environment.flower_port}")


def _run(command: Any, app: Any, *arguments: str) -> None:
    """Run one of Celery's commands alone. The program `celery` would load all of them, and their libraries."""
    from celery.bin.base import CLIContext
    from click import Context, Group

    parent = Context(Group("celery"), obj=CLIContext(app=app, no_color=True, workdir=None, quiet=True))
    command.main(arguments, prog_name=command.name, parent=parent)


def main() -> None:
    """Start the process named on the command line."""
    processes = {"web": web, "worker": worker, "beat": beat, "flower": flower}
    if len(sys.argv) != 2 or sys.argv[1] not in processes:
        sys.exit(USAGE)
    memory.begin_loading()
    processes[sys.argv[1]]()


if __name__ == "__main__":
    main()
