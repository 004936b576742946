"""Finds the user behind each kind of credential.

An invalid credential is always an error, never ignored: its sender must not silently act as another user. Only a cookie
is different, because browsers also send old ones. Everything here queries the database and runs in a thread.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from codelab.identity import token_families, tokens
from codelab.identity.models import ApiKey, CredentialKind, Scope
from codelab.identity.secrets import API_KEY_PREFIX, digest_of
from sessions.errors import AccessDenied
from sessions.protocol.codes import ErrorCode

ALL_SCOPES = frozenset(str(scope) for scope in Scope)


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and how they were authenticated. `kind` and `reference` are enough to look it up again."""

    kind: CredentialKind
    reference: str
    user: User
    scopes: frozenset[str] = ALL_SCOPES
    #: When the token or key expires, if it does.
    expires_at: datetime | None = None


def invalid_credential() -> AccessDenied:
    """Return the error of a credential that never existed."""
    return AccessDenied(ErrorCode.TOKEN_INVALID, "The token or key is not valid. Sign in again.")


def expired_credential() -> AccessDenied:
    """Return the error of a credential that was valid once."""
    return AccessDenied(ErrorCode.TOKEN_EXPIRED, "The token or key has expired or was revoked. Sign in again.")


def by_secret(secret: str) -> Credential:
    """Return the credential behind an access token or an API key; raises AccessDenied."""
    return by_api_key(secret) if secret.startswith(API_KEY_PREFIX) else by_access_token(secret)


def by_access_token(text: str) -> Credential:
    """Return the credential behind an access token; raises AccessDenied."""
    try:
        token = tokens.verify(text)
    except tokens.ExpiredToken:
        raise expired_credential() from None
    except tokens.InvalidToken:
        raise invalid_credential() from None
    family = token_families.find_valid_family(token.family_id)
    if family is None:
        raise expired_credential()
    if token.subject != tokens.subject_of(family.user_id):
        raise invalid_credential()
    return Credential(CredentialKind.TOKENS, str(family.pk), family.user, token.scopes, token.expires_at)


def by_api_key(secret: str) -> Credential:
    """Return the credential behind an API key and record its use; raises AccessDenied."""
    key = ApiKey.objects.select_related("user").filter(digest=digest_of(secret)).first()
    if key is None:
        raise invalid_credential()
    now = timezone.now()
    if not is_valid(key):
        raise expired_credential()
    stale = now - ApiKey.USE_RECORD_INTERVAL
    if key.last_used_at is None or key.last_used_at < stale:
        rows = ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=stale), pk=key.pk)
        rows.update(last_used_at=now)
    return _of_api_key(key)


def is_valid(key: ApiKey) -> bool:
    """Return whether an API key can be used."""
    in_time = key.expires_at is None or key.expires_at > timezone.now()
    return key.revoked_at is None and in_time and key.user.is_active


def by_internal_key(secret: str) -> Credential:
    """Return the credential of programs that send X-Internal-Auth; raises AccessDenied."""
    internal_key = settings.CODELAB_INTERNAL_KEY
    if not internal_key or not secrets.compare_digest(secret.encode(), internal_key.encode()):
        raise invalid_credential()
    credential = look_up(CredentialKind.INTERNAL, "")
    if credential is None:
        raise invalid_credential()
    return credential


def look_up(kind: str, reference: str) -> Credential | None:
    """Return a credential by its kind and reference, None when it is not valid any more."""
    match kind:
        case CredentialKind.TOKENS:
            family = token_families.find_valid_family(UUID(reference))
            if family is None:
                return None
            return Credential(CredentialKind.TOKENS, reference, family.user, frozenset(family.scopes.split()))
        case CredentialKind.API_KEY:
            key = ApiKey.objects.select_related("user").filter(pk=reference).first()
            return _of_api_key(key) if key is not None and is_valid(key) else None
        case CredentialKind.BROWSER:
            user = _cookie_user(reference)
        case CredentialKind.INTERNAL:
            user = _active_user(settings.CODELAB_INTERNAL_USER if settings.CODELAB_INTERNAL_KEY else "")
        case _:
            user = _active_user(settings.OPEN_ACCESS_USER)
    return Credential(CredentialKind(kind), reference, user) if user is not None else None


def _of_api_key(key: ApiKey) -> Credential:
    return Credential(CredentialKind.API_KEY, str(key.pk), key.user, frozenset(key.scopes.split()), key.expires_at)


def _cookie_user(session_key: str) -> User | None:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) else None


def _active_user(username: str) -> User | None:
    return User.objects.filter(username=username, is_active=True).first() if username else None
