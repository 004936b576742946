"""Uploads images to a session, for its messages to show, and returns them."""

import uuid

from django.http import HttpRequest, HttpResponse
from ninja import Router

from sessions.api.commands import store_timeout
from sessions.api.http import ERRORS, ErrorOut, first_of, no_session, owner, require_clean, session_of
from sessions.api.rest.schemas import ImageOut
from sessions.callers import Action, caller_of
from sessions.database import in_thread
from sessions.errors import NotFound
from sessions.models import Image
from sessions.protocol.codes import MAX_IMAGE_BYTES, MAX_KEY_LENGTH, ErrorCode
from sessions.turns import images
from sessions.turns.sessions import open_session

router = Router(tags=["images"])

PATH = "/sessions/{path:session_id}/images"
#: An image never changes and belongs to one user. The policy keeps browsers from running content that it hides.
IMAGE_HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@router.post(PATH, response={200: ImageOut, 413: ErrorOut, **ERRORS})
async def upload_image(request: HttpRequest, session_id: str) -> ImageOut:
    """Store a PNG, JPEG, GIF or WebP image, the bytes of the body, in a session that is created on first use.

    A message shows it by naming its id in `images`. The same image again has the same id. Images that no message shows
    within a day are deleted.
    """
    if not 0 < len(session_id) <= MAX_KEY_LENGTH:
        raise no_session(session_id)
    require_clean(session_id)
    # One byte above the limit shows that the image is too large. Django's limit is that of the other endpoints.
    data = request.read(MAX_IMAGE_BYTES + 1)
    images.require_image(data)
    await caller_of(request).authorize(Action.IMAGE)
    async with store_timeout():
        session = await in_thread(open_session)(owner(request).pk, session_id)
        image = await in_thread(images.store)(session.pk, data)
    return ImageOut(**images.image_fields(image))


@router.get(PATH + "/{image_id}", response={200: bytes, **ERRORS})
async def get_image(request: HttpRequest, session_id: str, image_id: uuid.UUID) -> HttpResponse:
    """Return the bytes of an image."""
    session = await session_of(request, session_id)
    error = NotFound(ErrorCode.IMAGE_NOT_FOUND, f"Image `{image_id}` does not exist in this session.")
    image = await first_of(Image.objects.filter(session=session, pk=image_id), error)
    return HttpResponse(bytes(image.data), content_type=image.media_type, headers=IMAGE_HEADERS)
