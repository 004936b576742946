"""What the clean-up could not do yet."""

from django.db import models
from django.db.models.functions import Now


class PostponedItem(models.Model):
    """A row whose clean-up failed. It is tried again later, and holds up no other row meanwhile."""

    kind = models.CharField(max_length=64, help_text="Which clean-up, and of which table.")
    item = models.CharField(max_length=200, help_text="The row's key.")
    failures = models.PositiveIntegerField(default=0, db_default=0)
    error = models.CharField(max_length=100, blank=True, db_default="", help_text="Class of the latest error.")
    retry_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "item"], name="postponed_item_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.item}"
