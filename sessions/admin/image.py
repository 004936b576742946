"""Pictures of sessions. Lists say what there is; only the page of one reads its bytes, and shows it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import age
from sessions.admin.pages import SearchableAdmin
from sessions.models import Image


class ImageAdmin(SearchableAdmin):
    list_display = ("uploaded", "conversation_of", "owner_of", "media_type", "bytes", "is_shown")
    list_filter = ("media_type", "is_shown")
    list_select_related = ("session__owner",)
    sortable_by = ()
    fields = (
        *("id", "conversation_of", "owner_of", "picture", "media_type", "bytes", "digest", "is_shown", "uploaded_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Image]:
        """Leave the bytes out."""
        rows: QuerySet[Image] = super().get_queryset(request)
        return rows.defer("data")

    @admin.display(description="uploaded")
    def uploaded(self, image: Image) -> SafeString:
        """Return how long ago it came."""
        return age(image.uploaded_at)

    @admin.display(description="size")
    def bytes(self, image: Image) -> str:
        """Return how large it is."""
        return filesizeformat(image.size)

    @admin.display(description="picture")
    def picture(self, image: Any) -> SafeString:
        """Show it; a browser runs nothing that is in an image of these types."""
        data = b64encode(image.data).decode()
        return format_html('<img class="picture" src="data:{};base64,{}" alt="The picture">', image.media_type, data)
