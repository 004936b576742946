"""Requests to the APIs for completions, and their results."""

from django.db import models
from django.db.models import Q, Value

from sessions.models.conversation import Turn
from sessions.models.fields import MAX_CLIENT_NAME_LENGTH, KeyOrderField, OrderedModel, UniqueIndex, new_id, one_of


class CompletionKind(models.TextChoices):
    CHAT = "chat"
    EMBEDDINGS = "embeddings"


class CompletionApi(models.TextChoices):
    #: `/v1/chat/completions` and `/v1/embeddings`.
    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"


class Completion(OrderedModel):
    """A request that carries its whole conversation. The model sees these messages, not those of the session."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    turn = models.OneToOneField(Turn, on_delete=models.CASCADE, related_name="completion")
    kind = models.CharField(max_length=16, choices=CompletionKind, default=CompletionKind.CHAT)
    api = models.CharField(
        "API", max_length=16, choices=CompletionApi, default=CompletionApi.CHAT, db_default=CompletionApi.CHAT.value
    )
    model = models.CharField(max_length=200, help_text="As the caller named it.")
    agent = models.CharField(max_length=64, blank=True, help_text="Agent that answers. Empty: the model itself.")
    messages = models.JSONField(default=list, help_text="The conversation, or the texts to embed.")
    tools = models.JSONField(default=list, help_text="Tools that the caller can run.")
    options = models.JSONField(default=dict, help_text="Other parameters of the request.")
    details = models.JSONField(
        default=dict, db_default=Value({}, models.JSONField()), help_text="What the API needs for its answer."
    )
    key_order = KeyOrderField(of=("messages", "tools", "options", "details"))
    client_session = models.CharField(
        max_length=MAX_CLIENT_NAME_LENGTH, blank=True, default="", db_default="", help_text="As the client names it."
    )
    client_agent = models.CharField(
        max_length=MAX_CLIENT_NAME_LENGTH, blank=True, default="", db_default="", help_text="As the client names it."
    )
    is_background = models.BooleanField(
        default=False, db_default=False, help_text="Its turn goes on when the client leaves."
    )
    is_stored = models.BooleanField(default=False, db_default=False, help_text="The client may ask for it later.")
    #: Hash of the user, the API and the body. A request that repeats this one has the same.
    fingerprint = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 (most rows have none)
    #: Hash of what marks repetitions by itself: the user's `Idempotency-Key`, or the client's session with the body.
    idempotency_key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 (unique, unless null)
    #: Connections that follow the turn, as far as it matters: those that ended before the answer are taken off.
    followers = models.IntegerField(default=1, db_default=1, editable=False)
    lost_at = models.DateTimeField(null=True, editable=False, help_text="When the last follower lost its connection.")
    result = models.JSONField(null=True, blank=True, help_text="The embeddings, each as base64.")
    finish_reason = models.CharField(max_length=32, blank=True)
    answer_fields = models.TextField(  # noqa: DJ001 (most rows have none)
        null=True,
        editable=False,
        help_text="What only the model's provider understands of the answer, for the client to send back.",
    )
    cached_tokens = models.PositiveBigIntegerField(default=0)
    cache_write_tokens = models.PositiveBigIntegerField(default=0, db_default=0)
    reasoning_tokens = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of("kind", CompletionKind, "completion_kind_known"),
            one_of("api", CompletionApi, "completion_api_known"),
        ]
        indexes = [
            UniqueIndex(
                fields=["idempotency_key"], condition=Q(idempotency_key__isnull=False), name="completion_key_once"
            ),
            models.Index(
                fields=["fingerprint", "-created_at"],
                condition=Q(fingerprint__isnull=False),
                name="completion_by_fingerprint",
            ),
        ]

    def __str__(self) -> str:
        return f"request for {self.model}"
