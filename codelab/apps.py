"""The project as a Django app, so that the Celery app and the system checks exist as soon as Django does."""

from __future__ import annotations

from django.apps import AppConfig


class CodelabConfig(AppConfig):
    name = "codelab"

    def ready(self) -> None:
        # Tasks declared with `shared_task` bind to the Celery app that exists when they are first sent.
        from codelab import celery, checks  # noqa: F401
