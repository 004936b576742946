"""Sign-ins of clients: begun with a password or a client's secret, renewed by refresh tokens, revoked as a whole.

A refresh token is valid once. Reuse of a rotated refresh token means theft; as the thief and the owner cannot be told
apart, the whole family is revoked. One exception: for a few seconds after its first use the token gives the family's
newest one again. So a client whose answer was lost goes on, and so do two windows of one client that refresh at the
same time. A thief gains nothing lasting by that, because thief and owner then have the same token, and its later reuse
is detected.
"""

import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from codelab.identity import audit, tokens
from codelab.identity.models import AuditKind, Client, RefreshToken, TokenFamily
from codelab.identity.secrets import REFRESH_TOKEN_PREFIX, digest_of, new_secret

#: From its creation; each refresh starts it again.
REFRESH_TOKEN_LIFETIME = timedelta(days=30)
#: A refresh token may be sent again for this long after its first use.
REFRESH_GRACE = timedelta(seconds=10)
#: Refreshes within that time, one after the other, of which an old token is still good. Each costs a query.
MAX_GRACE_SUCCESSORS = 10


class InvalidRefreshToken(Exception):
    """The client has no valid refresh token of this value."""


class RefreshTokenReused(InvalidRefreshToken):
    """The token was used before. Its family is revoked."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """New tokens. A client that signs in by itself gets no refresh token, because it can sign in again."""

    access_token: str
    refresh_token: str | None
    scopes: str


def begin(user: User, client: Client, scopes: str, *, address: str, refreshable: bool) -> TokenPair:
    """Start a family and return its first tokens."""
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
    return TokenPair(tokens.issue(family), refresh_token, scopes)


def refresh(secret: str, client: Client, *, address: str) -> TokenPair:
    """Exchange a refresh token for a new pair. On late reuse, commit the revocation and raise RefreshTokenReused."""
    now = timezone.now()
    digest = digest_of(secret)
    token = RefreshToken.objects.select_related("family__user", "family__client").filter(pk=digest).first()
    if token is None or token.family.client_id != client.pk or not is_valid(token.family):
        raise InvalidRefreshToken
    family = token.family
    with transaction.atomic():
        # Guarded, because two requests may use the same token at the same time.
        is_first_use = RefreshToken.objects.filter(pk=digest, used_at=None, expires_at__gt=now).update(used_at=now)
        if is_first_use:
            refresh_token = _successor(secret, now)
            _store(family, refresh_token)
            audit.record(AuditKind.TOKEN_REFRESH, user_id=family.user_id, client_id=client.client_id, address=address)
    if is_first_use:
        return TokenPair(tokens.issue(family), refresh_token, family.scopes)
    newest = _newest(secret)
    if newest == secret:
        # It was never used, and has expired.
        raise InvalidRefreshToken
    if newest is not None:
        audit.record(
            AuditKind.TOKEN_REFRESH,
            user_id=family.user_id,
            client_id=client.client_id,
            address=address,
            detail="the same token again within its grace",
        )
        return TokenPair(tokens.issue(family), newest, family.scopes)
    revoke(family, kind=AuditKind.REFRESH_TOKEN_REUSED, address=address)
    raise RefreshTokenReused


def revoke(family: TokenFamily, *, kind: AuditKind = AuditKind.TOKEN_REVOKE, address: str = "") -> None:
    """Revoke a family; its sockets close within a minute. Does nothing when it is revoked already."""
    with transaction.atomic():
        if TokenFamily.objects.filter(pk=family.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.record(kind, user_id=family.user_id, client_id=family.client.client_id, address=address)


def find_family(secret: str) -> TokenFamily | None:
    """Return the family of a refresh token or of a valid access token."""
    token = RefreshToken.objects.select_related("family__client").filter(pk=digest_of(secret)).first()
    if token is not None:
        return token.family
    try:
        return find_valid_family(tokens.verify(secret).family_id)
    except tokens.InvalidToken:
        return None


def find_valid_family(family_id: uuid.UUID) -> TokenFamily | None:
    """Return a valid family with its user and client."""
    family = TokenFamily.objects.select_related("user", "client").filter(pk=family_id).first()
    return family if family is not None and is_valid(family) else None


def is_valid(family: TokenFamily) -> bool:
    """Return whether a family is not revoked or expired, user and client are active and the password is unchanged."""
    return (
        family.revoked_at is None
        and family.expires_at > timezone.now()
        and family.user.is_active
        and family.client.is_active
        and family.password_mark == password_mark(family.user)
    )


def password_mark(user: User) -> str:
    """Return a value that changes with the user's password."""
    return user.get_session_auth_hash()


def _new_refresh_token(family: TokenFamily) -> str:
    secret = new_secret(REFRESH_TOKEN_PREFIX)
    _store(family, secret)
    return secret


def _successor(secret: str, used_at: datetime) -> str:
    """Return the token that replaces `secret`: the same one again, for the holder of `secret` only.

    Neither the database nor CODELAB_SECRET_KEY is enough to compute it.
    """
    message = f"{secret}|{used_at.timestamp():.6f}"
    return REFRESH_TOKEN_PREFIX + urlsafe_b64encode(
        salted_hmac("codelab.identity.refresh", message, algorithm="sha256").digest()
    ).decode().rstrip("=")


def _newest(secret: str) -> str | None:
    """Return the unused token that has replaced a token, or None when that was used longer than REFRESH_GRACE ago."""
    for _ in range(MAX_GRACE_SUCCESSORS + 1):
        row = RefreshToken.objects.filter(pk=digest_of(secret)).first()
        if row is not None and row.used_at is None:
            return secret
        if row is None or row.used_at is None or timezone.now() - row.used_at >= REFRESH_GRACE:
            return None
        secret = _successor(secret, row.used_at)
    return None


def _store(family: TokenFamily, secret: str) -> None:
    now = timezone.now()
    family.refreshed_at, family.expires_at = now, now + REFRESH_TOKEN_LIFETIME
    family.save(update_fields=["refreshed_at", "expires_at"])
    RefreshToken.objects.create(digest=digest_of(secret), family=family, expires_at=family.expires_at)
