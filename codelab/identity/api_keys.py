"""Creates and revokes API keys, for REST and the admin. The caller shows the secret; it is not stored."""

import uuid
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from codelab.identity import audit
from codelab.identity.models import ApiKey, AuditKind
from codelab.identity.secrets import API_KEY_PREFIX, digest_of, new_secret

#: Characters of a key that are stored to recognise it.
PREFIX_LENGTH = 12


def assign_secret(key: ApiKey) -> str:
    """Give an unsaved key a new secret and return the secret."""
    secret = new_secret(API_KEY_PREFIX)
    key.prefix, key.digest = secret[:PREFIX_LENGTH], digest_of(secret)
    return secret


def create(user: User, *, name: str, scopes: str, expires_at: datetime | None, address: str) -> tuple[ApiKey, str]:
    """Create a key; return it and its secret."""
    key = ApiKey(user=user, name=name, scopes=scopes, expires_at=expires_at)
    secret = assign_secret(key)
    with transaction.atomic():
        key.save(force_insert=True)
        record_creation(key, address)
    return key, secret


def record_creation(key: ApiKey, address: str) -> None:
    """Record in the audit log that a key was created."""
    audit.record(AuditKind.API_KEY_CREATE, user_id=key.user_id, address=address, detail=str(key.pk))


def revoke(user_id: int, key_id: uuid.UUID, *, address: str) -> ApiKey | None:
    """Revoke a user's key and return it; None when it does not exist. Repeating it is not an error."""
    key = ApiKey.objects.filter(pk=key_id, user_id=user_id).first()
    if key is not None:
        with transaction.atomic():
            now = timezone.now()
            if ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=now):
                key.revoked_at = now
                audit.record(AuditKind.API_KEY_REVOKE, user_id=user_id, address=address, detail=str(key_id))
    return key
