"""The stored parts of credentials: never a usable one, except the signing keys, which are encrypted.

Tokens, keys and tickets are long and random, so their SHA-256 is enough to find and check them. People may choose
passwords and clients' secrets, which therefore use Django's slow hashes.
"""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from sessions.models import new_id, one_of


class Scope(models.TextChoices):
    """What a credential allows."""

    READ = "api:read", "Read: sessions, histories, events"
    WRITE = "api:write", "Write: messages, tool results, sessions"
    LLM = "llm", "Models, without sessions"


class CredentialKind(models.TextChoices):
    """How a caller was authenticated."""

    TOKENS = "tokens"
    API_KEY = "api_key"
    BROWSER = "browser"
    INTERNAL = "internal"
    OPEN_ACCESS = "open_access"


def join_scopes(scopes: frozenset[str] | set[str]) -> str:
    """Return scopes in OAuth's notation, in the order of `Scope`."""
    return " ".join(scope for scope in Scope.values if scope in scopes)


class Client(models.Model):
    """A program that may request tokens. One without a secret is public, like an editor on a user's machine."""

    client_id = models.CharField(max_length=100, unique=True)
    name = models.CharField(max_length=200, blank=True)
    secret_hash = models.CharField(max_length=200, blank=True)
    scopes = models.CharField(
        max_length=200, default="api:read api:write", help_text="The most that its tokens may allow."
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="The user it acts as when it signs in by itself (client_credentials).",
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = "OAuth client"

    def __str__(self) -> str:
        return self.client_id


class SigningKey(models.Model):
    """A key pair that signs access tokens. One is current; earlier ones still verify tokens."""

    kid = models.CharField(primary_key=True, max_length=64)
    private_pem = models.TextField(help_text="Encrypted with CODELAB_SECRET_KEY.")
    public_jwk = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    is_current = models.BooleanField(default=True)

    class Meta:
        constraints = [
            # When several processes create a key at the same time, the first wins and the others use its key.
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
    """One sign-in of a client with all its access and refresh tokens. Revoked as a whole."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="token_families")
    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="token_families")
    scopes = models.CharField(max_length=200)
    password_mark = models.CharField(
        max_length=128, help_text="Changes with the password, which invalidates the family."
    )
    address = models.GenericIPAddressField(null=True, blank=True, help_text="The address that signed in.")
    created_at = models.DateTimeField(auto_now_add=True)
    refreshed_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "token families"

    def __str__(self) -> str:
        return f"{self.client_id} {self.created_at:%Y-%m-%d %H:%M}"


class RefreshToken(models.Model):
    """A refresh token, valid once. Used ones are kept, so that reuse is detected."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="refresh_tokens")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="refresh_token_by_age")]

    def __str__(self) -> str:
        return f"refresh token of {self.family_id}"


class ApiKey(models.Model):
    """A key for programs, created by its user and shown only once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, help_text="What the key is for.")
    prefix = models.CharField(max_length=16, editable=False, help_text="The first characters, to recognise the key.")
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    scopes = models.CharField(max_length=200, default="api:read api:write")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    #: `last_used_at` is written at most this often.
    USE_RECORD_INTERVAL = timedelta(minutes=1)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"


class DelegatedCredential(models.Model):
    """The credential of a request, for a socket that follows it. It is checked again when the socket opens."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=128)
    kind = models.CharField(max_length=16, choices=CredentialKind)
    reference = models.CharField(max_length=64, help_text="Identifies the credential among those of its kind.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.session_key


class Ticket(DelegatedCredential):
    """Admits one socket within a minute."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    expires_at = models.DateTimeField(db_index=True)


class SessionOpening(DelegatedCredential):
    """A session opened over REST, which admits a socket without credentials from the same address."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    address = models.GenericIPAddressField()
    opened_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "identity_opening"
        constraints = [
            # The key comes first, because sockets are looked up by it.
            models.UniqueConstraint(fields=["session_key", "address", "user"], name="opening_unique")
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
    """A use or change of credentials. Never contains one, nor an unknown user name, which may be a password."""

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
        indexes = [models.Index(fields=["created_at"], name="audit_entry_by_age")]
        constraints = [one_of("kind", AuditKind, "audit_kind_known")]

    def __str__(self) -> str:
        return self.kind
