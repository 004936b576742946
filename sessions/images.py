"""Pictures of a session: taken in, shown by messages, given to a model, deleted when none has shown them.

A picture comes by itself and messages name it, so that no frame is larger than a text and the log holds no pictures.
What is not a picture is refused here: a provider would refuse it with every later turn of the session.
"""

from __future__ import annotations

import hashlib
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from llm.types import Image as ModelImage
from sessions.changes import ImageRefused, MessageRefused
from sessions.models import Image, MediaType, Session
from sessions.protocol import MAX_IMAGE_BYTES, ErrorCode

#: How long a picture waits for a message that shows it.
UNUSED = timedelta(days=1)
#: Pictures, and bytes of them, that a model is shown at most, the newest first: what providers of all kinds take.
NEWEST, NEWEST_BYTES = 20, 12 * 1024 * 1024


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


def require_picture(data: bytes) -> MediaType:
    """Return what kind of picture this is. Raises ImageRefused."""
    if len(data) > MAX_IMAGE_BYTES:
        text = f"An image has at most {MAX_IMAGE_BYTES // 1024**2} MiB; send a smaller one."
        raise ImageRefused(ErrorCode.IMAGE_TOO_LARGE, text)
    media_type = _media_type(data)
    if media_type is None:
        raise ImageRefused(ErrorCode.INVALID_IMAGE, "This is no PNG, JPEG, GIF or WebP, which is what models read.")
    return media_type


def store(session_id: uuid.UUID, data: bytes) -> Image:
    """Put a picture into a session; the same one again is the same row. Commits. Raises ImageRefused."""
    media_type = require_picture(data)
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


def described(image: Image) -> dict[str, Any]:
    """Return how messages and events name a picture."""
    return {"image_id": str(image.pk), "media_type": str(image.media_type), "bytes": image.size}


def of_message(session: Session, wanted: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Return what a message says of the pictures it shows, each once. The caller commits. Raises MessageRefused."""
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
        raise MessageRefused(ErrorCode.IMAGE_NOT_FOUND, text)
    return [described(found[each]) for each in dict.fromkeys(wanted)]


def for_model(shown: Sequence[Sequence[dict[str, Any]]]) -> list[tuple[ModelImage, ...]]:
    """Return what a model is shown of the pictures of messages, which are named oldest first, message by message.

    Each picture once, in the newest message that shows it, and of all of them the newest.
    """
    places: dict[str, int] = {}
    room = NEWEST_BYTES
    for place, image in _newest_first(shown):
        if image["image_id"] in places:
            continue
        room -= image["bytes"]
        if room < 0 or len(places) == NEWEST:
            break
        places[image["image_id"]] = place
    rows = Image.objects.filter(pk__in=places).values_list("pk", "media_type", "data")
    data = {str(pk): ModelImage(f"data:{kind};base64,{b64encode(data).decode()}") for pk, kind, data in rows}
    return [
        tuple(data[name] for each in images if places.get(name := each["image_id"]) == place and name in data)
        for place, images in enumerate(shown)
    ]


def _newest_first(shown: Sequence[Sequence[dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for place in reversed(range(len(shown))):
        for image in reversed(shown[place]):
            yield place, image


def forget_unused() -> None:
    """Delete the pictures that came a while ago and that no message has ever shown."""
    Image.objects.filter(is_shown=False, uploaded_at__lt=timezone.now() - UNUSED).delete()
