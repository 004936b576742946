"""The ASGI application: HTTP goes to Django, WebSockets to `sessions`. The web process must never load LiteLLM."""

import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
# Django first: the imports below need its apps.
http = get_asgi_application()

from codelab.api_handler import API_PREFIXES, ApiHandler  # noqa: E402
from codelab.cors import CrossOrigin  # noqa: E402
from codelab.identity.callers import IdentifiedCaller  # noqa: E402
from codelab.identity.request_credentials import of_socket, without_tokens  # noqa: E402
from codelab.request_log import RequestLog, bind_request_id  # noqa: E402
from sessions.routing import websocket_urlpatterns  # noqa: E402

# Otherwise the first request would import all views, and keep the event loop for half a second.
_ = get_resolver().url_patterns

_api_handler = ApiHandler()
_socket_routes: Any = URLRouter(websocket_urlpatterns)


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route a WebSocket, with its caller in the scope."""
    bind_request_id(scope)
    caller = IdentifiedCaller(of_socket(scope), opens_socket=True)
    # Daphne takes `root_path` from a header that any client can send.
    overrides = {"root_path": "", "caller": caller, "subprotocols": without_tokens(scope["subprotocols"])}
    await _socket_routes({**scope, **overrides}, receive, send)


async def request(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Route an HTTP request. Those of the APIs may stay open for long and have a handler of their own."""
    handler: Any = _api_handler if scope["path"].startswith(API_PREFIXES) else http
    await handler(scope, receive, send)


application = ProtocolTypeRouter({"http": RequestLog(CrossOrigin(request)), "websocket": websocket})
