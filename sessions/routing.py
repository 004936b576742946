"""The paths of the sockets. A client chooses the key of a session, which may have slashes."""

from typing import Any

from django.urls import re_path

from sessions.api.acp.consumers import AcpConsumer
from sessions.api.websocket.consumers import OriginalConsumer, SessionConsumer
from sessions.api.websocket.no_such_socket import NoSuchSocket

# Channels' router takes applications, which Django's type of `re_path` does not allow.
_path: Any = re_path

websocket_urlpatterns = [
    _path(r"^api/v1/ws/(?P<key>.+)$", OriginalConsumer.as_asgi()),
    _path(r"^ws/(?P<key>.+)$", SessionConsumer.as_asgi()),
    _path(r"^acp$", AcpConsumer.as_asgi()),
    _path(r"", NoSuchSocket.as_asgi()),
]
