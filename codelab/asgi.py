"""The ASGI entry: HTTP to Django, sockets to the sessions app. The web process must never load LiteLLM."""

from __future__ import annotations

import os
from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
# Django first: the imports below need its apps.
http = get_asgi_application()

from codelab.identity.callers import IdentifiedCaller  # noqa: E402
from codelab.identity.request_credentials import of_socket, without_tokens  # noqa: E402
from codelab.openai_api import PREFIX, Handler  # noqa: E402
from sessions.routing import websocket_urlpatterns  # noqa: E402

_patient = Handler()
_routes: Any = URLRouter(websocket_urlpatterns)


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Pass a socket on, with what is known about its caller."""
    caller = IdentifiedCaller(of_socket(scope), opens_socket=True)
    # Daphne takes the application's root from a header that any client can send.
    more = {"root_path": "", "caller": caller, "subprotocols": without_tokens(scope["subprotocols"])}
    await _routes({**scope, **more}, receive, send)


async def request(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Pass a request on: those of the OpenAI-compatible door may be under way for long."""
    handler: Any = _patient if scope["path"].startswith(PREFIX) else http
    await handler(scope, receive, send)


application = ProtocolTypeRouter({"http": request, "websocket": websocket})
