"""The Celery task that deletes expired credentials."""

import structlog
from celery import shared_task
from django.db import Error as DatabaseError

from codelab.identity import upkeep

logger = structlog.get_logger(__name__)


@shared_task(name="codelab.identity.tasks.tidy")
def tidy() -> None:
    """Delete expired credentials."""
    try:
        upkeep.delete_expired()
    except DatabaseError as error:
        # It runs again within the hour.
        logger.warning("identity_not_tidied", error=type(error).__name__)
