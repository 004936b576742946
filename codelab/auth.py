"""Who is calling: the same answer for HTTP and for the socket.

A browser is known by Django's session cookie. Everybody else is the open-access user, where the operator has named
one, and nobody where not. A page of a foreign origin is refused first, because a browser would send the cookie along
with its requests and open sockets from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, parse_cookie
from django.http.request import validate_host

from sessions.protocol import CloseCode, ErrorCode
from sessions.threads import in_thread

type Headers = Iterable[tuple[bytes, bytes]]

ORIGIN_REFUSED = "Pages of this origin may not use this server; its operator can allow it in CODELAB_ALLOWED_ORIGINS."


def is_origin_allowed(origin: str | None, host: str) -> bool:
    """Say whether a request with this Origin header may come in; programs that are no browsers send none."""
    if origin is None:
        return True
    if origin in settings.ALLOWED_ORIGINS:
        return True
    try:
        name, theirs = urlsplit(f"//{host}").hostname or "", urlsplit(origin).netloc
    except ValueError:
        return False
    # The host must be one of ours: a foreign name that points to this address would else be its own "same origin".
    return theirs == host and validate_host(f"[{name}]" if ":" in name else name, settings.ALLOWED_HOSTS)


def socket_refusal(headers: Headers) -> tuple[ErrorCode, str, CloseCode] | None:
    """Return why a socket with these headers is refused, or None."""
    values = dict(headers)
    origin = values.get(b"origin")
    if is_origin_allowed(origin.decode("latin-1") if origin else None, values.get(b"host", b"").decode("latin-1")):
        return None
    return ErrorCode.ORIGIN_NOT_ALLOWED, ORIGIN_REFUSED, CloseCode.ORIGIN_NOT_ALLOWED


async def identify_socket(headers: Headers) -> AbstractBaseUser | None:
    """Return the user behind a socket's headers."""
    cookies = parse_cookie(dict(headers).get(b"cookie", b"").decode("latin-1"))
    return await in_thread(_user)(cookies.get(settings.SESSION_COOKIE_NAME))


async def identify_request(request: HttpRequest) -> AbstractBaseUser | None:
    """Return the user behind a request."""
    return await in_thread(_user)(request.COOKIES.get(settings.SESSION_COOKIE_NAME))


def _user(session_key: str | None) -> AbstractBaseUser | None:
    users = get_user_model()
    if session_key:
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
        from django.contrib.auth import get_user

        user = get_user(request)
        if not isinstance(user, AnonymousUser):
            return user
    if settings.OPEN_ACCESS_USER:
        return users.objects.filter(username=settings.OPEN_ACCESS_USER, is_active=True).first()
    return None
