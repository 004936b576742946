"""Reads the credentials of a request or a handshake, and where it comes from. Checks nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.http import HttpRequest, parse_cookie

from codelab.identity.address import address_of, address_of_socket
from codelab.identity.secrets import TICKET_PREFIX

#: Subprotocols with a token or key. The server never chooses them, so it never sends them back.
TOKEN_SUBPROTOCOL_PREFIXES = ("codelab.token.", "bearer.")
#: Query parameters in which clients send tokens, although URLs end up in logs and histories.
TOKEN_PARAMETERS = ("token", "access_token", "api_key")
#: Headers that reveal a proxy.
PROXY_HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class RequestCredentials:
    """What identifies a caller, as received and not checked."""

    #: Access tokens and API keys; empty for an unknown scheme.
    secrets: tuple[str, ...]
    internal_key: str | None
    ticket: str | None
    cookie: str | None
    address: str
    has_token_in_query: bool
    #: The origin of the page that sent it; programs send none.
    origin: str | None
    host: str
    is_proxied: bool


def of_request(request: HttpRequest) -> RequestCredentials:
    """Return the credentials of a request."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return _read(headers, request.META.get("QUERY_STRING", ""), address_of(request), ())


def of_socket(scope: Mapping[str, Any]) -> RequestCredentials:
    """Return the credentials of a socket's handshake."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    return _read(headers, query, address_of_socket(dict(scope)), scope.get("subprotocols", ()))


def without_tokens(subprotocols: Iterable[str]) -> list[str]:
    """Return the subprotocols that are not credentials."""
    return [name for name in subprotocols if not name.startswith(TOKEN_SUBPROTOCOL_PREFIXES)]


def _read(headers: dict[str, str], query: str, address: str, subprotocols: Iterable[str]) -> RequestCredentials:
    secrets = []
    if "authorization" in headers:
        scheme, _, secret = headers["authorization"].partition(" ")
        secrets.append(secret.strip() if scheme.lower() == "bearer" else "")
    if "x-api-key" in headers:
        secrets.append(headers["x-api-key"].strip())
    for name in subprotocols:
        secrets += [name.removeprefix(start) for start in TOKEN_SUBPROTOCOL_PREFIXES if name.startswith(start)]
    parameters = parse_qs(query, keep_blank_values=True)
    ticket = parameters.get("ticket", [None])[-1]
    return RequestCredentials(
        secrets=tuple(secrets),
        internal_key=headers.get("x-internal-auth"),
        ticket=ticket,
        cookie=parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME),
        address=address,
        # A ticket without the prefix is probably a token.
        has_token_in_query=any(name in parameters for name in TOKEN_PARAMETERS)
        or (ticket is not None and not ticket.startswith(TICKET_PREFIX)),
        origin=headers.get("origin"),
        host=headers.get("host", ""),
        is_proxied=any(name in headers for name in PROXY_HEADERS),
    )
