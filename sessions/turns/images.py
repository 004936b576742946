"""Pictures of a session: taken in, shown by messages, given to a model, deleted when none has shown them.

A picture comes by itself and messages name it, so that no frame is larger than a text and the log holds no pictures.
What is not a picture is refused here: a provider would refuse it with every later turn of the session.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from sessions.errors import ImageRejected, MessageRejected
from sessions.models import Image, MediaType, Session
from sessions.protocol import MAX_IMAGE_BYTES, ErrorCode

#: How long a picture waits for a message that shows it.
UNUSED_RETENTION = timedelta(days=1)


def _media_type(data: bytes) -> MediaType | None:
    """Return what kind of picture this is, by its first bytes; None for everything that models cannot read."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaType.PNG
    if data.startswith(b"\xff\xd8\xff"):
        return MediaType.JPEG
    if data.startswith((b"GIF87a", b"GIF89a")):
        return MediaType.GIF
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return MediaType.WEBP
    return None


def require_image(data: bytes) -> MediaType:
    """Return what kind of picture this is. Raises ImageRejected."""
    if len(data) > MAX_IMAGE_BYTES:
        text = f"An image has at most {MAX_IMAGE_BYTES // 1024**2} MiB; send a smaller one."
        raise ImageRejected(ErrorCode.IMAGE_TOO_LARGE, text)
    media_type = _media_type(data)
    if media_type is None:
        raise ImageRejected(ErrorCode.INVALID_IMAGE, "Unsupported image type. Use PNG, JPEG, GIF or WebP.")
    return media_type


def store(session_id: uuid.UUID, data: bytes) -> Image:
    """Put a picture into a session; the same one again is the same row. Commits. Raises ImageRejected."""
    media_type = require_image(data)
    # Also where it was there already: the day after which it may go begins anew.
    came = {"uploaded_at": timezone.now()}
    # Without reading the bytes of one that is there, which are those that came.
    image, _ = Image.objects.defer("data").update_or_create(
        session_id=session_id,
        digest=hashlib.sha256(data).hexdigest(),
        defaults=came,
        create_defaults={"media_type": media_type, "size": len(data), "data": data, **came},
    )
    return image


def image_fields(image: Image) -> dict[str, Any]:
    """Return how messages and events name a picture."""
    return {"image_id": str(image.pk), "media_type": str(image.media_type), "bytes": image.size}


def message_images(session: Session, wanted: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Return what a message says of the pictures it shows, each once. The caller commits. Raises MessageRejected."""
    if not wanted:
        return []
    named = session.images.filter(pk__in=wanted)
    # First, so that none of them is deleted in between.
    named.update(is_shown=True)
    found = {image.pk: image for image in named.defer("data")}
    if missing := next((each for each in wanted if each not in found), None):
        text = (
            f"There is no image `{missing}` in this session. Upload it first; one that no message shows goes in a day."
        )
        raise MessageRejected(ErrorCode.IMAGE_NOT_FOUND, text)
    return [image_fields(found[each]) for each in dict.fromkeys(wanted)]


def delete_unused() -> None:
    """Delete the pictures that came a while ago and that no message has ever shown."""
    Image.objects.filter(is_shown=False, uploaded_at__lt=timezone.now() - UNUSED_RETENTION).delete()
