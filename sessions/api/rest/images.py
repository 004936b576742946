"""The pictures of a session: put in before the message that shows them, and got by whoever shows the conversation."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from ninja import Router

from sessions.api.commands import store_timeout
from sessions.api.http import ERRORS, ErrorOut, no_session, owned, owner, require_clean
from sessions.api.rest.schemas import ImageOut
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Image
from sessions.protocol import MAX_IMAGE_BYTES, MAX_KEY_LENGTH, ErrorCode
from sessions.turns import images
from sessions.turns.sessions import open_session

router = Router(tags=["images"])

PATH = "/sessions/{path:session_id}/images"
#: It never changes, and it is its owner's alone. What a browser is made to open is shown and never run.
HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@router.post(PATH, response={200: ImageOut, 413: ErrorOut, **ERRORS})
async def upload_image(request: HttpRequest, session_id: str) -> ImageOut:
    """Put a PNG, JPEG, GIF or WebP into a session, which is made when there is none; the body is its bytes.

    A message shows it by naming its id in `images`. The same picture again has the same id. What no message shows
    within a day is deleted.
    """
    if not 0 < len(session_id) <= MAX_KEY_LENGTH:
        raise no_session(session_id)
    require_clean(session_id)
    # One byte more than is allowed tells that there is more. Django's own limit is that of the other endpoints.
    data = request.read(MAX_IMAGE_BYTES + 1)
    images.require_image(data)
    await caller_of(request).authorize(Action.IMAGE)
    async with store_timeout():
        session = await in_thread(open_session)(owner(request).pk, session_id)
        image = await in_thread(images.store)(session.pk, data)
    return ImageOut(**images.image_fields(image))


@router.get(PATH + "/{image_id}", response={200: bytes, **ERRORS})
async def get_image(request: HttpRequest, session_id: str, image_id: uuid.UUID) -> HttpResponse:
    """Return a picture's bytes."""
    session = await owned(request, session_id)
    image = await in_thread(Image.objects.filter(session=session, pk=image_id).first)()
    if image is None:
        raise NotFound(ErrorCode.IMAGE_NOT_FOUND, f"There is no image `{image_id}` in this session.")
    return HttpResponse(bytes(image.data), content_type=image.media_type, headers=HEADERS)
