"""Making and revoking API keys, for REST and the admin alike. The caller shows the key; nobody can again."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from codelab.identity import audit
from codelab.identity.models import ApiKey, AuditKind
from codelab.identity.secrets import API_KEY, digest_of, new_secret

#: Characters of a key that are kept to recognise it by.
SHOWN = 12


def draw(key: ApiKey) -> str:
    """Give a key that is not stored yet its secret, and return that."""
    secret = new_secret(API_KEY)
    key.prefix, key.digest = secret[:SHOWN], digest_of(secret)
    return secret


def make(user: User, *, name: str, scopes: str, expires_at: datetime | None, address: str) -> tuple[ApiKey, str]:
    """Make a key; returns it and its secret."""
    key = ApiKey(user=user, name=name, scopes=scopes, expires_at=expires_at)
    secret = draw(key)
    with transaction.atomic():
        key.save(force_insert=True)
        note_made(key, address)
    return key, secret


def note_made(key: ApiKey, address: str) -> None:
    """Write into the audit log that a key was made."""
    audit.record(AuditKind.API_KEY_CREATE, user_id=key.user_id, address=address, detail=str(key.pk))


def revoke(user_id: int, key_id: uuid.UUID, *, address: str) -> ApiKey | None:
    """Revoke a user's key; None when the user has none with this id. Again is no error."""
    key = ApiKey.objects.filter(pk=key_id, user_id=user_id).first()
    if key is not None:
        with transaction.atomic():
            now = timezone.now()
            if ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=now):
                key.revoked_at = now
                audit.record(AuditKind.API_KEY_REVOKE, user_id=user_id, address=address, detail=str(key_id))
    return key
