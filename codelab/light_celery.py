"""Celery's application for beat and Flower, which load neither Django nor the tasks.

Beat sends tasks by their names, and Flower shows what workers tell of them. With Django each would take three times the
memory and the time to start. Importing this module sets up the logs, which Django's settings do elsewhere.
"""

from typing import Any

from celery import Celery
from celery.signals import setup_logging

from codelab import memory
from codelab.environment import environment
from codelab.logging import configure_logging

configure_logging(environment.log_format, environment.log_level)


# Celery's fixup loads Django where DJANGO_SETTINGS_MODULE is set.
app = Celery("codelab", fixups=[])
app.config_from_object("celeryconfig")


@setup_logging.connect
def _keep_own_logging(**_: Any) -> None:
    """Do nothing: with a receiver for this signal Celery does not set up its own logging."""


def load() -> None:
    """Load the broker's library, which is otherwise the last thing that a process loads, and settle its memory."""
    with app.connection_for_write() as connection:
        _ = connection.transport
    memory.settle()
