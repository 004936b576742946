"""The Celery task that deletes expired credentials."""

from celery import shared_task

from codelab.identity import upkeep


@shared_task(name="codelab.identity.tasks.tidy")
def tidy() -> None:
    """Delete expired credentials. It runs again within the hour."""
    upkeep.delete_expired()
