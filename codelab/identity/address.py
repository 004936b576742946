"""Where a caller calls from. What a client says of itself is not believed, what our proxy says is.

The last entry of X-Forwarded-For is the one that our own proxy has added, and it is read only where the service is told
that it stands behind one (CODELAB_HTTPS). Daphne takes the first, which any client can make up.
"""

from __future__ import annotations

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
    """Return what proxies say of the client, as one header."""
    values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return ",".join(values) if values else None


def is_loopback(address: str) -> bool:
    """Say whether the client is on this machine, as far as its address tells."""
    return bool(address) and ipaddress.ip_address(address).is_loopback


def network_of(address: str) -> str:
    """Return what stands for an address when uses are counted: one customer has many IPv6 addresses, a /64."""
    if address and ipaddress.ip_address(address).version == 6:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return address


def _address(forwarded: str | None, peer: str | None) -> str:
    if settings.CODELAB_BEHIND_PROXY and forwarded:
        peer = forwarded.rpartition(",")[2]
    try:
        address = ipaddress.ip_address((peer or "").strip().partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
