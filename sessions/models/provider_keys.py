"""Users' own keys for model providers. Encrypted; no page, log line, event or response ever shows one."""

from django.conf import settings
from django.db import models

from sessions.models.fields import new_id


class ProviderKey(models.Model):
    """A user's own key for a provider. Replaces the server's key for calls of this user, who pays for them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="provider_keys", db_index=False
    )
    provider = models.CharField(max_length=64)
    api_base = models.CharField(max_length=500, blank=True, help_text="The user's own server. Empty: the provider's.")
    secret = models.TextField(help_text="Encrypted, see CODELAB_ENCRYPTION_KEY.")
    last_four = models.CharField(max_length=4, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "provider"], name="provider_key_one_for_owner")]

    def __str__(self) -> str:
        return f"key for {self.provider}"
