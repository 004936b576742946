"""Images of sessions. Only the page of an image reads its bytes, and shows it."""

from base64 import b64encode
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions.admin.display import column, show_time
from sessions.admin.pages import SearchableAdmin
from sessions.models import Image


class ImageAdmin(SearchableAdmin):
    list_display = ("upload_age", "conversation_of", "owner_of", "media_type", "bytes", "is_shown")
    list_filter = ("media_type", "is_shown")
    list_select_related = ("session__owner",)
    sortable_by = ()
    fields = (
        *("id", "conversation_of", "owner_of", "picture", "media_type", "bytes", "digest", "is_shown", "uploaded_at"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Image]:
        rows: QuerySet[Image] = super().get_queryset(request)
        return rows.defer("data")

    upload_age = column("uploaded", lambda image: show_time(image.uploaded_at))
    bytes = column("size", lambda image: filesizeformat(image.size))

    @admin.display(description="image")
    def picture(self, image: Any) -> SafeString:
        # Browsers run no code in images of these types.
        data = b64encode(image.data).decode()
        return format_html('<img class="image" src="data:{};base64,{}" alt="The image">', image.media_type, data)
