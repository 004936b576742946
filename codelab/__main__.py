"""`python -m codelab PROCESS` starts one of the service's processes, the same way here, in containers and in tests.

web      Daphne: chat page, API, WebSocket, admin, metrics
worker   Celery worker that runs turns
beat     Celery beat: wakes the sweeper
flower   the page that shows Celery's jobs
"""

from __future__ import annotations

import os
import sys
import warnings

from codelab.environment import environment

USAGE = "Usage: python -m codelab web|worker|beat|flower"


def web() -> None:
    """Serve HTTP and WebSocket in this process."""
    from codelab.server import Server  # isort: skip  (Twisted's reactor has to be the first of Twisted)
    from codelab.asgi import application

    host = environment.host.replace(":", r"\:")
    Server(
        application,
        endpoints=[f"tcp:port={environment.port}:interface={host}"],
        # No answer is cut that its turn may still give; streams of events come back by themselves.
        # Most of what an idle socket costs; proxies end a connection that is silent for a minute.
        ping_interval=30,
        http_timeout=max(600, int(environment.turn_timeout) + 60),
        server_name="codelab",
        proxy_forwarded_address_header="X-Forwarded-For" if environment.https else None,
    ).run()


def worker() -> None:
    """Run turns in this process."""
    # The danger that Celery warns of is pickle; this project's tasks are JSON and nothing else is accepted.
    warnings.filterwarnings("ignore", message=".*superuser privilege", category=UserWarning)
    _celery("worker", "--pool=threads", "--queues=turns,upkeep", "--without-gossip", "--without-mingle")


def beat() -> None:
    """Wake the sweeper every few seconds."""
    schedule = environment.data_dir / "celerybeat-schedule"
    schedule.parent.mkdir(parents=True, exist_ok=True)
    _celery("beat", f"--schedule={schedule}", "--pidfile=")


def flower() -> None:
    """Show Celery's jobs, to whoever knows the password."""
    if environment.flower_password is None:
        sys.exit("Flower shows and ends jobs: set FLOWER_PASSWORD before you start it.")
    # By the environment and not as an argument, which everybody on the machine could read.
    os.environ["FLOWER_BASIC_AUTH"] = f"admin:{environment.flower_password.get_secret_value()}"
    _celery("flower", f"--address={environment.flower_host}", f"--port={environment.flower_port}")


def _celery(*arguments: str) -> None:
    from celery.__main__ import main as celery

    sys.argv = ["celery", "--quiet", "--app=codelab.celery", *arguments, "--loglevel=INFO"]
    celery()


def main() -> None:
    """Start the process that is named on the command line."""
    processes = {"web": web, "worker": worker, "beat": beat, "flower": flower}
    if len(sys.argv) != 2 or sys.argv[1] not in processes:
        sys.exit(USAGE)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    processes[sys.argv[1]]()


if __name__ == "__main__":
    main()
