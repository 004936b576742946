"""Registration of the app."""

from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "codelab.identity"
    label = "identity"
    verbose_name = "Identity"
