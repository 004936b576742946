"""Requests to the OpenAI-compatible API, and their results."""

from django.db import models

from sessions.models.conversation import Turn
from sessions.models.fields import KeyOrderField, OrderedModel, new_id, one_of


class CompletionKind(models.TextChoices):
    CHAT = "chat"
    EMBEDDINGS = "embeddings"


class Completion(OrderedModel):
    """A request that carries its whole conversation. The model sees these messages, not those of the session."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    turn = models.OneToOneField(Turn, on_delete=models.CASCADE, related_name="completion")
    kind = models.CharField(max_length=16, choices=CompletionKind, default=CompletionKind.CHAT)
    model = models.CharField(max_length=200, help_text="As the caller named it.")
    agent = models.CharField(max_length=64, blank=True, help_text="Agent that answers. Empty: the model itself.")
    messages = models.JSONField(default=list, help_text="The conversation, or the texts to embed.")
    tools = models.JSONField(default=list, help_text="Tools that the caller can run.")
    options = models.JSONField(default=dict, help_text="Other parameters of the request.")
    key_order = KeyOrderField(of=("messages", "tools", "options"))
    result = models.JSONField(null=True, blank=True, help_text="The embeddings, each as base64.")
    finish_reason = models.CharField(max_length=32, blank=True)
    cached_tokens = models.PositiveBigIntegerField(default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [one_of("kind", CompletionKind, "completion_kind_known")]

    def __str__(self) -> str:
        return f"request for {self.model}"
