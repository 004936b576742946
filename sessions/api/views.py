"""The chat page: a small client of the socket, to try the service and as an example of a client.

It must never show anything of a session by itself: all that the page shows comes through the public API and the socket,
which proves that they suffice.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.csp import CSP, build_policy
from django.views.decorators.vary import vary_on_headers

from agents.roles import ROLES
from llm.catalog import is_scripted

#: Models and users write what the page shows, so only files of this server run or load. `'self'` covers
#: the socket too (CSP 3: Chromium 71, Safari 16, every Firefox in use); `ws:` would allow sockets to anywhere.
POLICY = build_policy(
    {
        "default-src": CSP.NONE,
        "script-src": CSP.SELF,
        "style-src": CSP.SELF,
        "connect-src": CSP.SELF,
        "img-src": CSP.SELF,
        "base-uri": CSP.NONE,
        "form-action": CSP.NONE,
        "frame-ancestors": CSP.NONE,
    }
)


@vary_on_headers("Accept-Language", "Cookie")
def chat(request: HttpRequest) -> HttpResponse:
    """Show the chat."""
    model: str = settings.CODELAB_MODEL
    facts = {"model": model, "scripted": is_scripted(model), "agents": ROLES.values()}
    response = render(request, "sessions/chat.html", facts)
    response[CSP.HEADER_ENFORCE] = POLICY
    return response
