"""Sign-ins of clients: begun with a password or a client's secret, renewed by refresh tokens, revoked as a whole.

A refresh token is good once. Who brings one that was used already may be a thief or robbed, and nobody can tell which:
the whole family ends, and its user signs in again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from codelab.identity import audit, tokens
from codelab.identity.models import AuditKind, Client, RefreshToken, TokenFamily
from codelab.identity.secrets import REFRESH_TOKEN, digest_of, new_secret

#: How long a refresh token is good; each new one anew.
REFRESH_TOKEN_LIFE = timedelta(days=30)


class RefreshRefused(Exception):
    """The refresh token is not one of this client's that is still good."""


class RefreshTokenReused(RefreshRefused):
    """It was used before; its family is revoked."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A pair of tokens. A client that signs in by itself gets no refresh token: it can just sign in again."""

    access_token: str
    refresh_token: str | None
    scopes: str


def begin(user: User, client: Client, scopes: str, *, address: str, refreshable: bool) -> Issued:
    """Begin a family."""
    now = timezone.now()
    family = TokenFamily(
        user=user,
        client=client,
        scopes=scopes,
        password_mark=password_mark(user),
        address=address or None,
        expires_at=now + timedelta(seconds=settings.CODELAB_ACCESS_TOKEN_SECONDS),
    )
    with transaction.atomic():
        family.save(force_insert=True)
        refresh_token = _new_refresh_token(family) if refreshable else None
        if not refreshable:
            audit.record(AuditKind.CLIENT_LOGIN, user_id=user.pk, client_id=client.client_id, address=address)
    return Issued(tokens.issue(family), refresh_token, scopes)


def refresh(secret: str, client: Client, *, address: str) -> Issued:
    """Take a refresh token for a new pair; raises RefreshRefused. What reuse revokes is committed all the same."""
    now = timezone.now()
    digest = digest_of(secret)
    found = RefreshToken.objects.select_related("family__user", "family__client").filter(pk=digest).first()
    if found is None or found.family.client_id != client.pk or not is_good(found.family):
        raise RefreshRefused
    family = found.family
    with transaction.atomic():
        # Guarded, because two requests with one token may come at the same time.
        taken = RefreshToken.objects.filter(pk=digest, used_at=None, expires_at__gt=now).update(used_at=now)
        if taken:
            refresh_token = _new_refresh_token(family)
            audit.record(AuditKind.TOKEN_REFRESH, user_id=family.user_id, client_id=client.client_id, address=address)
    if taken:
        return Issued(tokens.issue(family), refresh_token, family.scopes)
    if RefreshToken.objects.filter(pk=digest, used_at=None).exists():
        raise RefreshRefused
    revoke(family, kind=AuditKind.REFRESH_TOKEN_REUSED, address=address)
    raise RefreshTokenReused


def revoke(family: TokenFamily, *, kind: AuditKind = AuditKind.TOKEN_REVOKE, address: str = "") -> None:
    """End a family; sockets that hang on it follow within the minute. Does nothing when it has ended."""
    with transaction.atomic():
        if TokenFamily.objects.filter(pk=family.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.record(kind, user_id=family.user_id, client_id=family.client.client_id, address=address)


def family_of(secret: str) -> TokenFamily | None:
    """Return the family of a refresh token or of an access token that has not expired."""
    found = RefreshToken.objects.select_related("family__client").filter(pk=digest_of(secret)).first()
    if found is not None:
        return found.family
    try:
        return good_family(tokens.read(secret).family_id)
    except tokens.InvalidToken:
        return None


def good_family(family_id: uuid.UUID) -> TokenFamily | None:
    """Return a family that is still good, with its user and client."""
    family = TokenFamily.objects.select_related("user", "client").filter(pk=family_id).first()
    return family if family is not None and is_good(family) else None


def is_good(family: TokenFamily) -> bool:
    """Say whether a family is still good: not revoked or expired, its user and client active, the password the same."""
    return (
        family.revoked_at is None
        and family.expires_at > timezone.now()
        and family.user.is_active
        and family.client.is_active
        and family.password_mark == password_mark(family.user)
    )


def password_mark(user: User) -> str:
    """Return what changes when the user's password does."""
    return user.get_session_auth_hash()


def _new_refresh_token(family: TokenFamily) -> str:
    secret, now = new_secret(REFRESH_TOKEN), timezone.now()
    family.refreshed_at, family.expires_at = now, now + REFRESH_TOKEN_LIFE
    family.save(update_fields=["refreshed_at", "expires_at"])
    RefreshToken.objects.create(digest=digest_of(secret), family=family, expires_at=family.expires_at)
    return secret
