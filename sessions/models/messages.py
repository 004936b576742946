"""The messages of a conversation."""

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from sessions.models.conversation import Session, Turn
from sessions.models.fields import KeyOrderField, OrderedModel, new_id, one_of
from sessions.models.words import MessageWords


class MessageRole(models.TextChoices):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


#: The messages that people have written or read.
SEARCHED_ROLES = (MessageRole.USER.value, MessageRole.ASSISTANT.value)


class Message(OrderedModel):
    """One entry of the conversation, as models and users see it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages", db_index=False)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="messages")
    subtask = models.ForeignKey(
        "SubTask",
        verbose_name="sub-task",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="messages",
        db_index=False,
        help_text="Sub-task of a plan that it belongs to.",
    )
    role = models.CharField(max_length=16, choices=MessageRole)
    content = models.TextField(blank=True)
    surroundings = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="Facts about the workspace that models read after the text, as they were when the turn began.",
    )
    reasoning = models.TextField(
        blank=True, db_default="", help_text="The model's reasoning, if the provider returns it. Never sent to a model."
    )
    tool_calls = models.JSONField(default=list, blank=True, help_text="Tool calls that the model requested.")
    key_order = KeyOrderField(of=("tool_calls",))
    edited_calls = models.JSONField(
        null=True, blank=True, help_text="Ids of the calls whose arguments a user has edited: what is here is what ran."
    )
    provider_fields = models.TextField(
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Thoughts and signatures that go back to the provider within the turn. Deleted after it.",
    )
    tool_call_id = models.CharField(max_length=128, blank=True, help_text="Call that a tool message answers.")
    author = models.JSONField(
        null=True, blank=True, help_text="Of an answer: agent, mode and model, and how much of the window was used."
    )
    images = models.JSONField(null=True, blank=True, help_text="Images that the user attached, or a tool returned.")
    client_message_id = models.CharField(
        max_length=128, blank=True, default="", help_text="The sender's own id. A repeated id means the same message."
    )
    interrupted = models.BooleanField(default=False, help_text="The turn ended before the answer was complete.")
    withdrawn = models.BooleanField(
        default=False,
        db_default=False,
        help_text="The sender withdrew it, or replaced its turn. Models and clients do not see it.",
    )
    steered = models.BooleanField(
        default=False, db_default=False, help_text="Sent into an open turn, whose next step reads it."
    )
    read_number = models.BigIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text="Number of the event that began the step that reads a steered message: its place from then on.",
    )
    #: In the row, so that the index of the search finds one user's messages without those of all others.
    owner_id = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="The session's owner. Empty: the search does not know it yet."
    )
    number = models.BigIntegerField(help_text="Number of the event that announced it. Orders the conversation.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of("role", MessageRole, "message_role_known"),
            models.UniqueConstraint(fields=["session", "number"], name="message_number_unique"),
            models.UniqueConstraint(
                fields=["session", "client_message_id"],
                condition=~Q(client_message_id=""),
                name="message_client_id_unique",
            ),
        ]
        indexes = [
            # Most messages belong to no plan.
            models.Index(fields=["subtask"], condition=Q(subtask__isnull=False), name="message_of_subtask"),
            # A short list of what was added last: the insert that fills it up has to empty it.
            GinIndex(
                MessageWords(),
                condition=Q(role__in=SEARCHED_ROLES, withdrawn=False, owner_id__isnull=False),
                gin_pending_list_limit=256,
                name="message_words",
            ),
            # Rows of processes before the search. Empty after a while.
            models.Index(
                fields=["-id"],
                condition=Q(role__in=SEARCHED_ROLES, owner_id__isnull=True),
                name="message_without_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.id}"
