"""Registration of the app. The label differs from the name because django.contrib.sessions has that label."""

from django.apps import AppConfig


class SessionsConfig(AppConfig):
    name = "sessions"
    label = "agent_sessions"
    verbose_name = "Agent sessions"
