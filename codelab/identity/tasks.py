"""The Celery task that tidies up."""

from __future__ import annotations

import structlog
from celery import shared_task
from django.db import Error as DatabaseError

from codelab.identity import upkeep

logger = structlog.get_logger(__name__)


@shared_task(name="codelab.identity.tasks.tidy")
def tidy() -> None:
    """Delete expired credentials."""
    try:
        upkeep.tidy()
    except DatabaseError as error:
        # The next one comes within the hour.
        logger.warning("identity_not_tidied", error=type(error).__name__)
