"""The Celery application. Its settings are in the top-level `celeryconfig`."""

import os
import time
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready
from django_structlog.celery.steps import DjangoStructLogInitStep

from codelab import memory

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
# All of Django's checks would load the pages and APIs of the web process into each worker, and Celery ignores what they
# find. Ours have run (`codelab.checks.require_settings`).
os.environ.setdefault("CELERY_SKIP_CHECKS", "true")

logger = structlog.get_logger(__name__)

app = Celery("codelab")
app.config_from_object("celeryconfig")
app.autodiscover_tasks()
app.events.dispatcher_cls = "codelab.consumer:EventDispatcher"
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect
def _keep_own_logging(**_: Any) -> None:
    """Do nothing: with a receiver for this signal Celery does not set up its own logging."""


@worker_init.connect
def _wait_for_schema(**_: Any) -> None:
    """Wait until the database has the tables of this version. A worker must not run turns without them."""
    from codelab.schema import pending_migrations

    told: list[str] = []
    while pending := _pending(pending_migrations):
        if pending != told:
            logger.warning("waiting_for_migrations", not_applied=pending, hint="Run `manage.py migrate`.")
        told = pending
        time.sleep(1)


@worker_ready.connect
def _settle_memory(**_: Any) -> None:
    memory.settle()


def _pending(pending_migrations: Callable[[], list[str]]) -> list[str]:
    from django.db import Error as DatabaseError
    from django.db import connection

    try:
        return pending_migrations()
    except DatabaseError:
        # Workers start without PostgreSQL, and wait for it later.
        return []
    finally:
        connection.close()
