"""The project as a Django app: it loads the Celery app and the system checks together with Django."""

from django.apps import AppConfig


class CodelabConfig(AppConfig):
    name = "codelab"

    def ready(self) -> None:
        # Tasks declared with `shared_task` bind to the Celery app that exists when they are first sent.
        from codelab import celery, checks  # noqa: F401
