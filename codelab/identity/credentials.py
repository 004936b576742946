"""From what a caller presents to a user: every kind of credential, in one place.

A credential that is presented and not good is an error, always: whoever sends one means to be somebody, and must not
silently become somebody else. A cookie is no exception but a thing apart, because browsers send old ones unasked.
Everything here asks the database and runs in a thread.
"""

from __future__ import annotations

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
from codelab.identity.models import ApiKey, Kind, Scope
from codelab.identity.secrets import API_KEY, digest_of
from sessions.errors import Refusal
from sessions.protocol import CloseCode, ErrorCode

ALL_SCOPES = frozenset(str(scope) for scope in Scope)


@dataclass(frozen=True, slots=True)
class Credential:
    """A user, and what vouches for it. `kind` and `reference` are enough to look it up again."""

    kind: Kind
    reference: str
    user: User
    scopes: frozenset[str] = ALL_SCOPES
    #: When what was presented expires, where it says so itself.
    expires_at: datetime | None = None


def refused(code: ErrorCode, text: str) -> Refusal:
    """Return the refusal of somebody who is not signed in."""
    return Refusal(code, text, status=401, close_code=CloseCode.NOT_SIGNED_IN)


def invalid() -> Refusal:
    """Return the refusal of a credential that never was one."""
    return refused(ErrorCode.TOKEN_INVALID, "The token or key is not valid here. Sign in again.")


def expired() -> Refusal:
    """Return the refusal of a credential that was good once."""
    return refused(ErrorCode.TOKEN_EXPIRED, "The token or key has expired or was revoked. Sign in again.")


def by_secret(secret: str) -> Credential:
    """Return the credential behind an access token or an API key; raises Refusal."""
    return by_api_key(secret) if secret.startswith(API_KEY) else by_access_token(secret)


def by_access_token(text: str) -> Credential:
    """Return the credential behind an access token; raises Refusal."""
    try:
        token = tokens.read(text)
    except tokens.ExpiredToken:
        raise expired() from None
    except tokens.InvalidToken:
        raise invalid() from None
    family = token_families.good_family(token.family_id)
    if family is None:
        raise expired()
    if token.subject != tokens.subject_of(family.user_id):
        raise invalid()
    return Credential(Kind.TOKENS, str(family.pk), family.user, token.scopes, token.expires_at)


def by_api_key(secret: str) -> Credential:
    """Return the credential behind an API key, and note its use; raises Refusal."""
    key = ApiKey.objects.select_related("user").filter(digest=digest_of(secret)).first()
    if key is None:
        raise invalid()
    now = timezone.now()
    if not is_good(key):
        raise expired()
    stale = now - ApiKey.USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at < stale:
        rows = ApiKey.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=stale), pk=key.pk)
        rows.update(last_used_at=now)
    return _of_api_key(key)


def is_good(key: ApiKey) -> bool:
    """Say whether an API key can be used."""
    in_time = key.expires_at is None or key.expires_at > timezone.now()
    return key.revoked_at is None and in_time and key.user.is_active


def by_internal_key(secret: str) -> Credential:
    """Return the credential of programs that send X-Internal-Auth; raises Refusal."""
    known = settings.CODELAB_INTERNAL_KEY
    if not known or not secrets.compare_digest(secret.encode(), known.encode()):
        raise invalid()
    credential = look_up(Kind.INTERNAL, "")
    if credential is None:
        raise invalid()
    return credential


def look_up(kind: str, reference: str) -> Credential | None:
    """Return a credential by what vouches for it, or None when that is not good any more."""
    match kind:
        case Kind.TOKENS:
            family = token_families.good_family(UUID(reference))
            if family is None:
                return None
            return Credential(Kind.TOKENS, reference, family.user, frozenset(family.scopes.split()))
        case Kind.API_KEY:
            key = ApiKey.objects.select_related("user").filter(pk=reference).first()
            return _of_api_key(key) if key is not None and is_good(key) else None
        case Kind.BROWSER:
            user = _user_of_cookie(reference)
        case Kind.INTERNAL:
            user = _named(settings.CODELAB_INTERNAL_USER if settings.CODELAB_INTERNAL_KEY else "")
        case _:
            user = _named(settings.OPEN_ACCESS_USER)
    return Credential(Kind(kind), reference, user) if user is not None else None


def _of_api_key(key: ApiKey) -> Credential:
    return Credential(Kind.API_KEY, str(key.pk), key.user, frozenset(key.scopes.split()), key.expires_at)


def _user_of_cookie(session_key: str) -> User | None:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) else None


def _named(username: str) -> User | None:
    return User.objects.filter(username=username, is_active=True).first() if username else None
