"""Images that users attach to messages."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from sessions.models.conversation import Session
from sessions.models.fields import new_id, one_of


class MediaType(models.TextChoices):
    #: All providers accept these.
    PNG = "image/png"
    JPEG = "image/jpeg"
    GIF = "image/gif"
    WEBP = "image/webp"


class Image(models.Model):
    """An image of a session, for its messages to show. A session stores the same image once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="images", db_index=False)
    media_type = models.CharField(max_length=16, choices=MediaType)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the bytes, in hexadecimal.")
    size = models.PositiveIntegerField(help_text="In bytes.")
    data = models.BinaryField()
    is_shown = models.BooleanField(default=False, help_text="A message shows it. Other images are deleted after a day.")
    uploaded_at = models.DateTimeField(default=timezone.now, help_text="Time of the latest upload.")

    class Meta:
        constraints = [
            one_of("media_type", MediaType, "image_media_type_known"),
            models.UniqueConstraint(fields=["session", "digest"], name="image_once_in_session"),
        ]
        indexes = [models.Index(fields=["uploaded_at"], condition=Q(is_shown=False), name="image_not_shown")]

    def __str__(self) -> str:
        return f"image {self.id}"
