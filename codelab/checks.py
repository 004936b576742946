"""System checks: report settings that cannot work before anything starts, with an id and a fix.

`manage.py check` runs them, and so does each web and worker process when it starts (`require_settings`).
"""

import os
import sys
from typing import Any

import django
import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Error, register, run_checks
from django.db import Error as DatabaseError

from codelab.environment import environment, unknown_names
from llm import catalog, keys

logger = structlog.get_logger(__name__)

#: The tag of our own checks.
TAG = "codelab"
#: Fewer characters, or fewer different ones, can be guessed (Django's own figures).
MIN_KEY_LENGTH, MIN_KEY_CHARACTERS = 50, 5


def require_settings() -> None:
    """Log what is questionable, and end the process with a sentence for each setting that cannot work."""
    # Without a key Django raises an error of its own before it runs any check.
    problems = check_secret_key()
    if not problems:
        django.setup()
        problems = run_checks(tags=[TAG])
    for problem in problems:
        if problem.level < checks.ERROR:
            logger.warning("setting_questionable", check=problem.id, problem=problem.msg, hint=problem.hint)
        else:
            print(f"{problem.msg} {problem.hint}", file=sys.stderr)
    if any(problem.level >= checks.ERROR for problem in problems):
        raise SystemExit(2)


@register(TAG)
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """Require a key that signs cookies."""
    if environment.secret_key or environment.debug:
        return []
    hint = "Set CODELAB_SECRET_KEY to 50 random characters, or start with `make run`, which generates one."
    return [Error("The secret key is not set.", hint=hint, id="codelab.E001")]


@register(TAG)
def check_debug(**_: Any) -> list[CheckMessage]:
    """Warn when strangers would see tracebacks."""
    if not settings.DEBUG or _is_local_only():
        return []
    hint = "Unset CODELAB_DEBUG, or limit CODELAB_ALLOWED_HOSTS to this machine."
    return [checks.Warning("Debug mode is on for a reachable host.", hint=hint, id="codelab.W001")]


@register(TAG)
def check_open_access(**_: Any) -> list[CheckMessage]:
    """Warn when the open-access user is set on a server that others can reach."""
    if not settings.OPEN_ACCESS_USER or _is_local_only():
        return []
    hint = "Unset CODELAB_OPEN_ACCESS_USER: behind a proxy that does not forward addresses, it lets every client in."
    return [checks.Warning("The open-access user is set on a reachable host.", hint=hint, id="codelab.W002")]


@register(TAG)
def check_internal_key(**_: Any) -> list[CheckMessage]:
    """Warn when the internal key or its user is set without the other."""
    if bool(settings.CODELAB_INTERNAL_KEY) == bool(settings.CODELAB_INTERNAL_USER):
        return []
    hint = "Set CODELAB_INTERNAL_KEY and CODELAB_INTERNAL_USER, or neither."
    return [checks.Warning("X-Internal-Auth admits no request.", hint=hint, id="codelab.W003")]


@register(TAG)
def check_key_length(**_: Any) -> list[CheckMessage]:
    """Warn when the secret key can be guessed."""
    key = settings.SECRET_KEY
    if not key or settings.DEBUG or (len(key) >= MIN_KEY_LENGTH and len(set(key)) >= MIN_KEY_CHARACTERS):
        return []
    hint = f"Use at least {MIN_KEY_LENGTH} random characters, for example of `openssl rand -hex 32`."
    return [checks.Warning("CODELAB_SECRET_KEY is short.", hint=hint, id="codelab.W004")]


@register(TAG)
def check_hosts(**_: Any) -> list[CheckMessage]:
    """Warn when the service answers to any name."""
    if "*" not in settings.ALLOWED_HOSTS or settings.DEBUG:
        return []
    hint = "Name the hosts: otherwise a page of any name that points here counts as one of ours."
    return [checks.Warning("CODELAB_ALLOWED_HOSTS allows every name.", hint=hint, id="codelab.W005")]


@register(TAG)
def check_open_access_user(**_: Any) -> list[CheckMessage]:
    """Warn when the open-access user does not exist. Without the database there is no warning."""
    name = settings.OPEN_ACCESS_USER
    try:
        if not name or get_user_model().objects.filter(username=name, is_active=True).exists():
            return []
    except DatabaseError:
        return []
    hint = "Create the user, or unset CODELAB_OPEN_ACCESS_USER. Until then callers without credentials are refused."
    return [checks.Warning(f"The open-access user {name} does not exist.", hint=hint, id="codelab.W006")]


@register(TAG)
def check_names(**_: Any) -> list[CheckMessage]:
    """Warn of variables that look like settings and are not."""
    return [
        checks.Warning(
            f"{name} is not a setting.",
            hint=f"Did you mean {meant}?" if meant else "docs/configuration.md lists all of them.",
            id="codelab.W007",
        )
        for name, meant in unknown_names().items()
    ]


@register(TAG)
def check_provider_keys(**_: Any) -> list[CheckMessage]:
    """Require keys of providers that can be sent. Otherwise each turn would fail without a request."""
    providers = catalog.provider_names() | {environment.model.partition("/")[0]}
    names = {name for provider in providers for name in catalog.key_variables(provider)}
    values = {name: os.environ.get(name, "") for name in sorted(names)}
    return [
        Error(f"{name} {problem}.", hint="Copy the provider's key again, on one line.", id="codelab.E002")
        for name, value in values.items()
        if (problem := keys.problem(keys.trim(value)))
    ]


def _is_local_only() -> bool:
    return set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}
