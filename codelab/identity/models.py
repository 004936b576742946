"""What is stored of credentials: never one that could be used, except the signing keys, which are encrypted.

Tokens, keys and tickets are random and long, so a SHA-256 of them is enough to find and to check them; passwords and
the secrets of clients, which people may choose, go through Django's slow hashes.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from sessions.models import new_id, one_of


class Scope(models.TextChoices):
    """What a credential is good for."""

    READ = "api:read", "Read: sessions, histories, events"
    WRITE = "api:write", "Write: messages, tool results, sessions"
    LLM = "llm", "Models, without sessions"


class Kind(models.TextChoices):
    """What vouches for a caller."""

    TOKENS = "tokens"
    API_KEY = "api_key"
    BROWSER = "browser"
    INTERNAL = "internal"
    OPEN_ACCESS = "open_access"


def spaced(scopes: frozenset[str] | set[str]) -> str:
    """Return scopes as OAuth writes them."""
    return " ".join(scope for scope in Scope.values if scope in scopes)


class Client(models.Model):
    """A program that may ask for tokens. One without a secret is public: an editor on somebody's machine."""

    client_id = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=200, blank=True)
    secret_hash = models.CharField(max_length=200, blank=True)
    scopes = models.CharField(max_length=200, default="api:read api:write", help_text="What it may ask for at most.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who it is when it asks for itself (client_credentials).",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "OAuth client"

    def __str__(self) -> str:
        return self.client_id


class SigningKey(models.Model):
    """A key pair that signs access tokens. One is in use; those before it check what they have signed."""

    kid = models.CharField(primary_key=True, max_length=64)
    private_pem = models.TextField(help_text="Encrypted with CODELAB_SECRET_KEY.")
    public_jwk = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    is_current = models.BooleanField(default=True)

    class Meta:
        constraints = [
            # Of several processes that start at once and all make a key, one is first and the others take its key.
            models.UniqueConstraint(
                fields=["is_current"], condition=Q(is_current=True), name="signing_key_one_current"
            ),
            models.CheckConstraint(
                condition=Q(is_current=True, retired_at__isnull=True) | Q(is_current=False, retired_at__isnull=False),
                name="signing_key_retired_unless_current",
            ),
        ]

    def __str__(self) -> str:
        return self.kid


class TokenFamily(models.Model):
    """One sign-in of a client: all access and refresh tokens that came of it. Revoked as a whole."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="token_families")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="token_families")
    scopes = models.CharField(max_length=200)
    password_mark = models.CharField(max_length=128, help_text="Changes with the password, which ends the family.")
    address = models.GenericIPAddressField(null=True, blank=True, help_text="Where it was begun.")
    created_at = models.DateTimeField(auto_now_add=True)
    refreshed_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "token families"

    def __str__(self) -> str:
        return f"{self.client_id} {self.created_at:%Y-%m-%d %H:%M}"


class RefreshToken(models.Model):
    """A refresh token, good once. Those that were used are kept, so that a second use is noticed."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="refresh_tokens")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"refresh token of {self.family_id}"


class ApiKey(models.Model):
    """A key for programs, made by its user; shown whole only once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="What it is for.")
    prefix = models.CharField(max_length=16, editable=False, help_text="How it begins.")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = models.CharField(max_length=200, default="api:read api:write")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    #: `last_used_at` is written at most this often.
    USE_NOTED_EVERY = timedelta(minutes=1)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"


class Vouched(models.Model):
    """Who vouches for a socket that is yet to come: a user, by a credential that is looked at again when it comes."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=128)
    kind = models.CharField(max_length=16, choices=Kind)
    reference = models.CharField(max_length=64, help_text="Which credential of its kind.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.session_key


class Ticket(Vouched):
    """Lets one socket in, once, within a minute."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    expires_at = models.DateTimeField(db_index=True)


class Opening(Vouched):
    """A session that was opened over REST, so that a socket without credentials may follow from the same address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    address = models.GenericIPAddressField()
    opened_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            # The key comes first: it is what a socket is looked up by.
            models.UniqueConstraint(fields=["session_key", "address", "user"], name="opening_unique"),
        ]


class AuditKind(models.TextChoices):
    LOGIN_SUCCESS = "login_success"
    LOGIN_FAILED = "login_failed"
    CLIENT_LOGIN = "client_login"
    TOKEN_REFRESH = "token_refresh"
    TOKEN_REVOKE = "token_revoke"
    REFRESH_TOKEN_REUSED = "security_incident_refresh_token_reused"
    API_KEY_CREATE = "api_key_create"
    API_KEY_REVOKE = "api_key_revoke"
    SIGNING_KEY_ROTATE = "signing_key_rotate"


class AuditEntry(models.Model):
    """Something that was done with credentials. Never holds one, nor a name that nobody has: it may be a password."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=48, choices=AuditKind)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    client_id = models.CharField(max_length=100, blank=True)
    address = models.GenericIPAddressField(null=True, blank=True)
    detail = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "audit log"
        constraints = [one_of("kind", AuditKind, "audit_kind_known")]

    def __str__(self) -> str:
        return self.kind
