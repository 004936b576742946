"""Registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "codelab.identity"
    label = "identity"
    verbose_name = "Identity"
