"""System checks: report settings that cannot work before anything starts, with an id and a fix."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register


@register()
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """Require a key that signs cookies."""
    if settings.SECRET_KEY:
        return []
    hint = "Set CODELAB_SECRET_KEY to 50 random characters, or start with `make run`, which generates one."
    return [Error("The secret key is not set.", hint=hint, id="codelab.E001")]


@register()
def check_debug(**_: Any) -> list[CheckMessage]:
    """Warn when strangers would see tracebacks."""
    if not settings.DEBUG or _is_local_only():
        return []
    hint = "Unset CODELAB_DEBUG, or limit CODELAB_ALLOWED_HOSTS to this machine."
    return [checks.Warning("Debug mode is on for a reachable host.", hint=hint, id="codelab.W001")]


@register()
def check_open_access(**_: Any) -> list[CheckMessage]:
    """Warn when the open-access user is set on a server that others can reach."""
    if not settings.OPEN_ACCESS_USER or _is_local_only():
        return []
    hint = "Unset CODELAB_OPEN_ACCESS_USER: behind a proxy that does not forward addresses, it lets every client in."
    return [checks.Warning("The open-access user is set on a reachable host.", hint=hint, id="codelab.W002")]


@register()
def check_internal_key(**_: Any) -> list[CheckMessage]:
    """Warn when the internal key or its user is set without the other."""
    if bool(settings.CODELAB_INTERNAL_KEY) == bool(settings.CODELAB_INTERNAL_USER):
        return []
    hint = "Set CODELAB_INTERNAL_KEY and CODELAB_INTERNAL_USER, or neither."
    return [checks.Warning("X-Internal-Auth admits no request.", hint=hint, id="codelab.W003")]


def _is_local_only() -> bool:
    return set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}
