"""What a request or a handshake presents: tokens, keys, tickets, a cookie, and where it comes from. Pure reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.http import HttpRequest, parse_cookie

from codelab.identity.address import address_of, address_of_socket
from codelab.identity.secrets import TICKET

#: Subprotocols that carry a token or key. They are never chosen, so never sent back.
SUBPROTOCOLS = ("codelab.token.", "bearer.")
#: Names of parameters in which people put tokens, although addresses end up in logs and histories.
TOKENS_IN_QUERY = ("token", "access_token", "api_key")
#: Headers by which a proxy can be told.
PROXIES = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class Presented:
    """What there is to know a caller by. Texts are as they came: nothing is checked yet."""

    #: Access tokens and API keys; empty texts are schemes that are not known here.
    secrets: tuple[str, ...]
    internal_key: str | None
    ticket: str | None
    cookie: str | None
    address: str
    #: A token is in the query, where it does not belong.
    in_query: bool
    #: The page that sent it; programs send none.
    origin: str | None
    host: str
    proxied: bool


def of_request(request: HttpRequest) -> Presented:
    """Return what a request presents."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return _presented(headers, request.META.get("QUERY_STRING", ""), address_of(request), ())


def of_socket(scope: Mapping[str, Any]) -> Presented:
    """Return what the handshake of a socket presents."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = scope["query_string"].decode("latin-1")
    return _presented(headers, query, address_of_socket(dict(scope)), scope.get("subprotocols", ()))


def without_tokens(subprotocols: Iterable[str]) -> list[str]:
    """Return the subprotocols that are protocols."""
    return [name for name in subprotocols if not name.startswith(SUBPROTOCOLS)]


def _presented(headers: dict[str, str], query: str, address: str, subprotocols: Iterable[str]) -> Presented:
    found = []
    if "authorization" in headers:
        scheme, _, secret = headers["authorization"].partition(" ")
        found.append(secret.strip() if scheme.lower() == "bearer" else "")
    if "x-api-key" in headers:
        found.append(headers["x-api-key"].strip())
    for name in subprotocols:
        found += [name.removeprefix(start) for start in SUBPROTOCOLS if name.startswith(start)]
    parameters = parse_qs(query, keep_blank_values=True)
    ticket = parameters.get("ticket", [None])[-1]
    return Presented(
        secrets=tuple(found),
        internal_key=headers.get("x-internal-auth"),
        ticket=ticket,
        cookie=parse_cookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME),
        address=address,
        # Whatever is no ticket in its place is a token that somebody has put there.
        in_query=any(name in parameters for name in TOKENS_IN_QUERY)
        or (ticket is not None and not ticket.startswith(TICKET)),
        origin=headers.get("origin"),
        host=headers.get("host", ""),
        proxied=any(name in headers for name in PROXIES),
    )
