"""System checks: settings that cannot work are said before anything starts, with an id and a cure."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register


@register()
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """Refuse to start without a key that signs cookies."""
    if settings.SECRET_KEY:
        return []
    hint = "Set CODELAB_SECRET_KEY to 50 random characters, or start with `make run`, which makes one up."
    return [Error("There is no secret key.", hint=hint, id="codelab.E001")]


@register()
def check_debug(**_: Any) -> list[CheckMessage]:
    """Warn when tracebacks would be shown to everybody."""
    if not settings.DEBUG or set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        return []
    hint = "Unset CODELAB_DEBUG, or keep CODELAB_ALLOWED_HOSTS to this machine."
    return [checks.Warning("Debug mode is on for a reachable host.", hint=hint, id="codelab.W001")]


@register()
def check_open_access(**_: Any) -> list[CheckMessage]:
    """Warn when everybody who can reach the server may use it."""
    if not settings.OPEN_ACCESS_USER or set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        return []
    hint = "Unset CODELAB_OPEN_ACCESS_USER, or keep the server behind something that checks who comes in."
    return [checks.Warning("Everybody acts as the open-access user.", hint=hint, id="codelab.W002")]
