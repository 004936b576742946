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
    """Warn when the open-access user is set for a server that others can reach, which it is not for."""
    if not settings.OPEN_ACCESS_USER or set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        return []
    hint = "Unset CODELAB_OPEN_ACCESS_USER: behind a proxy that does not say whom it speaks for, everybody is let in."
    return [checks.Warning("The open-access user is for this machine only.", hint=hint, id="codelab.W002")]


@register()
def check_internal_key(**_: Any) -> list[CheckMessage]:
    """Warn when programs have a key and nobody to act as, or the other way round."""
    if bool(settings.CODELAB_INTERNAL_KEY) == bool(settings.CODELAB_INTERNAL_USER):
        return []
    hint = "Set CODELAB_INTERNAL_KEY and CODELAB_INTERNAL_USER, or neither."
    return [checks.Warning("X-Internal-Auth lets nobody in.", hint=hint, id="codelab.W003")]
