"""Summaries of what no longer fits into a model's window."""

from django.db import models

from sessions.models.conversation import Session, Turn
from sessions.models.fields import new_id
from sessions.models.plans import SubTask


class Summary(models.Model):
    """A model's summary of the older messages of a conversation. Requests have it instead of them.

    A later summary of the same conversation builds on it and takes its place.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="summaries", db_index=False)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="summaries", help_text="Made it.")
    subtask = models.ForeignKey(
        SubTask,
        verbose_name="sub-task",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="summaries",
        help_text="Sub-task of a plan whose conversation it is of.",
    )
    text = models.TextField()
    messages = models.PositiveIntegerField(help_text="How many messages it stands for.")
    until = models.UUIDField(help_text="The last message that it stands for.")
    until_place = models.JSONField(help_text="Position of that message's turn, its order there, and its number.")
    kept = models.JSONField(default=list, help_text="Ids of messages up to there that it does not stand for.")
    number = models.BigIntegerField(help_text="Number of the event that announced it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "summaries"
        indexes = [models.Index(fields=["session", "id"], name="summary_by_session")]

    def __str__(self) -> str:
        return f"summary of {self.messages} messages"
