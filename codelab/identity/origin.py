"""Checks the Origin header, because a browser sends the cookie with requests and sockets of any page.

Other programs send neither an Origin nor a cookie.
"""

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

from sessions.errors import AccessDenied
from sessions.protocol.codes import ErrorCode

ORIGIN_REFUSED = "Pages of this origin may not use this server. Its operator can allow them in CODELAB_ALLOWED_ORIGINS."


def require_origin(origin: str | None, host: str) -> None:
    """Raise AccessDenied for a page of a foreign origin."""
    if not is_origin_allowed(origin, host):
        raise AccessDenied(ErrorCode.ORIGIN_NOT_ALLOWED, ORIGIN_REFUSED)


def is_origin_allowed(origin: str | None, host: str) -> bool:
    """Return whether a request with this Origin header is allowed. Only browsers send one."""
    if origin is None:
        return True
    if origin in settings.ALLOWED_ORIGINS:
        return True
    try:
        name, origin_host = urlsplit(f"//{host}").hostname or "", urlsplit(origin).netloc
    except ValueError:
        return False
    # The host must be one of ours: otherwise a foreign name for this address would be its own "same origin".
    return origin_host == host and validate_host(f"[{name}]" if ":" in name else name, settings.ALLOWED_HOSTS)
