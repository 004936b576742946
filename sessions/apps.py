"""Registration of the app. The label differs from the name because django.contrib.sessions has that label."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import pre_delete


class SessionsConfig(AppConfig):
    name = "sessions"
    label = "agent_sessions"
    verbose_name = "Agent sessions"

    def ready(self) -> None:
        """Delete the sessions of users that are deleted, by whatever way."""
        pre_delete.connect(_delete_sessions, sender=settings.AUTH_USER_MODEL)


def _delete_sessions(instance: Any, **_: Any) -> None:
    # Models cannot be imported before the apps are ready.
    from sessions.turns.deletion import delete_sessions_of

    delete_sessions_of(instance.pk)
