"""The chat page: a small client of the socket, to try the service and to see how one is written."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie


@ensure_csrf_cookie
def chat(request: HttpRequest) -> HttpResponse:
    """Show the chat."""
    return render(request, "sessions/chat.html", {"model": settings.CODELAB_MODEL})
