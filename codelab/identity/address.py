"""The address of a caller. Our own proxy is trusted, the client is not.

Each of our proxies adds an entry to X-Forwarded-For, or the outermost replaces it. The client's is that of the
outermost one: as many from the end as there are proxies (CODELAB_PROXY_HOPS). It is read only when the service is
behind a proxy (CODELAB_HTTPS). Earlier entries are whatever the client sent.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """Return the address of a request's client, empty when it is unknown."""
    return _address(request.META.get("HTTP_X_FORWARDED_FOR"), request.META.get("REMOTE_ADDR"))


def address_of_socket(scope: dict[str, Any]) -> str:
    """Return the address of a socket's client, empty when it is unknown."""
    client = scope.get("client")
    return _address(forwarded_for(scope["headers"]), client[0] if client else None)


def forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return all X-Forwarded-For headers as one."""
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return ",".join(values) if values else None


def is_loopback(address: str) -> bool:
    """Return whether the address is one of this machine."""
    return bool(address) and ipaddress.ip_address(address).is_loopback


def network_of(address: str) -> str:
    """Return the network by which limits count an address: a /64 for IPv6, of which one customer has all addresses."""
    if address and ipaddress.ip_address(address).version == 6:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return address


def _address(forwarded: str | None, peer: str | None) -> str:
    if settings.CODELAB_BEHIND_PROXY and forwarded:
        entries = forwarded.split(",")
        # A shorter list was begun by one of our proxies.
        peer = entries[-min(settings.CODELAB_PROXY_HOPS, len(entries))]
    try:
        address = ipaddress.ip_address((peer or "").strip().partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
