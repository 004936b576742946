"""The paths of the service; those of the original stand beside the new ones (docs/protocol.md)."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from codelab.api import api, plugin_api
from codelab.health import Health, Ready, live
from codelab.metrics import metrics
from sessions.pages import chat

admin.site.site_header = admin.site.site_title = "CodeLab AI Service"
admin.site.index_title = "Sessions, turns and what became of them"

handler404 = "codelab.api.not_found"

urlpatterns = [
    path("", chat, name="chat"),
    path("admin/", admin.site.urls),
    path("api/v1/health", Health.as_view()),
    path("api/v1/", api.urls),
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}sessions/icon.svg")),
    path("health", Health.as_view(), name="health"),
    path("live", live, name="live"),
    path("metrics", metrics, name="metrics"),
    path("my/", plugin_api.urls),
    path("ready", Ready.as_view(), name="ready"),
]
