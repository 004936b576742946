"""The images of a session: check, store, attach to messages.

Images are uploaded separately and messages name them, so frames stay small and the log never holds images. Data of
another type is refused here, because a provider would refuse it with every later turn of the session.
"""

import hashlib
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Now

from sessions.models import Image, MediaType, Session
from sessions.protocol.codes import MAX_IMAGE_BYTES, ErrorCode, Rejected

#: How long an image is kept without a message that shows it.
UNUSED_RETENTION = timedelta(days=1)
#: First bytes of the types that models can read. WebP has a length in between.
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": MediaType.PNG,
    b"\xff\xd8\xff": MediaType.JPEG,
    b"GIF87a": MediaType.GIF,
    b"GIF89a": MediaType.GIF,
}


def require_image(data: bytes) -> MediaType:
    """Return the type of an image by its first bytes. Raises Rejected."""
    if len(data) > MAX_IMAGE_BYTES:
        text = f"The image is larger than {MAX_IMAGE_BYTES // 1024**2} MiB. Send a smaller one."
        raise Rejected(ErrorCode.IMAGE_TOO_LARGE, text)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return MediaType.WEBP
    for signature, media_type in SIGNATURES.items():
        if data.startswith(signature):
            return media_type
    raise Rejected(ErrorCode.INVALID_IMAGE, "Unsupported image type. Use PNG, JPEG, GIF or WebP.")


def store(session_id: uuid.UUID, data: bytes) -> Image:
    """Store an image of a session; a repeated upload is the same row. Commits. Raises Rejected."""
    media_type = require_image(data)
    _require_room(session_id, len(data))
    # A repeated upload restarts the retention.
    uploaded = {"uploaded_at": Now()}
    # The digest already proves that the stored bytes are the same, so they are not read.
    image, _ = Image.objects.defer("data").update_or_create(
        session_id=session_id,
        digest=hashlib.sha256(data).hexdigest(),
        defaults=uploaded,
        create_defaults={"media_type": media_type, "size": len(data), "data": data, **uploaded},
    )
    return image


def _require_room(session_id: uuid.UUID, size: int) -> None:
    """Raise Rejected when the owner's images take too much room. Uploads at the same moment may pass it by a few."""
    images = Image.objects.filter(session__owner__agent_sessions=session_id, session__deleted_at=None)
    stored: int = images.aggregate(bytes=Sum("size", default=0))["bytes"]
    if stored + size > settings.CODELAB_IMAGE_STORAGE_BYTES:
        limit = settings.CODELAB_IMAGE_STORAGE_BYTES // 1024**2
        text = f"Your images take {stored // 1024**2} of {limit} MiB. Delete sessions with images, then try again."
        raise Rejected(ErrorCode.IMAGE_STORAGE_FULL, text)


def image_fields(image: Image) -> dict[str, Any]:
    """Return how messages and events describe an image."""
    return {"image_id": str(image.pk), "media_type": str(image.media_type), "bytes": image.size}


def message_images(session: Session, image_ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Mark images as shown. Return their descriptions, each once. The caller commits. Raises Rejected."""
    if not image_ids:
        return []
    rows = session.images.filter(pk__in=image_ids)
    # Before they are read, so that `retention` cannot delete them in between.
    rows.update(is_shown=True)
    images = {image.pk: image for image in rows.defer("data")}
    if missing := next((image_id for image_id in image_ids if image_id not in images), None):
        text = (
            f"Image `{missing}` does not exist in this session. Upload it first; unused images are deleted after a day."
        )
        raise Rejected(ErrorCode.IMAGE_NOT_FOUND, text)
    return [image_fields(images[image_id]) for image_id in dict.fromkeys(image_ids)]
