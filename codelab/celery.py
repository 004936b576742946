"""The Celery application. Its settings are in the top-level `celeryconfig`."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")

app = Celery("codelab")
app.config_from_object("celeryconfig")
app.autodiscover_tasks()
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect
def _keep_own_logging(**_: Any) -> None:
    """Do nothing: with a receiver for this signal Celery does not set up its own logging."""
