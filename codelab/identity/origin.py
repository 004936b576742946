"""Which pages may use the service: a browser would send the cookie along with their requests and open sockets for them.

Programs that are no browsers send no Origin, and no cookie either.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host

from sessions.errors import Refusal
from sessions.protocol import CloseCode, ErrorCode

ORIGIN_REFUSED = "Pages of this origin may not use this server; its operator can allow it in CODELAB_ALLOWED_ORIGINS."


def require_origin(origin: str | None, host: str) -> None:
    """Raise Refusal for what comes from a page of a foreign origin."""
    if not is_origin_allowed(origin, host):
        code = ErrorCode.ORIGIN_NOT_ALLOWED
        raise Refusal(code, ORIGIN_REFUSED, status=403, close_code=CloseCode.NOT_ALLOWED)


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
