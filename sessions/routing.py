"""The paths of the sockets. The key of a session is whatever the client chose, slashes included."""

from __future__ import annotations

from typing import Any

from django.urls import re_path

from sessions.api.websocket.consumers import NoSuchSocket, OriginalConsumer, SessionConsumer

# Django's type of `re_path` knows views only; Channels' router takes applications.
_path: Any = re_path

websocket_urlpatterns = [
    _path(r"^api/v1/ws/(?P<key>.+)$", OriginalConsumer.as_asgi()),
    _path(r"^ws/(?P<key>.+)$", SessionConsumer.as_asgi()),
    _path(r"", NoSuchSocket.as_asgi()),
]
