"""Keys of users for providers of models. Encrypted; no page, log line, event or answer ever shows one."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from sessions.models.fields import new_id


class ProviderKey(models.Model):
    """A user's own key for a provider; it is used instead of this server's, and its user pays."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="provider_keys", db_index=False
    )
    provider = models.CharField(max_length=64)
    api_base = models.CharField(max_length=500, blank=True, help_text="A server of its user's; empty: the provider's.")
    secret = models.TextField(help_text="Encrypted, see CODELAB_ENCRYPTION_KEY.")
    last_four = models.CharField(max_length=4, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "provider"], name="provider_key_one_for_owner")]

    def __str__(self) -> str:
        return f"key for {self.provider}"
