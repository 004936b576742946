"""Addresses that callers give: which of them a worker may connect to. It stands inside the operator's network.

A name is looked up once, all its addresses are judged, and the connection goes to one that was judged: a name that
changes its address in between ("rebinding") gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm.errors import ModelAddressRefused, ModelUnavailable

#: IPv6 addresses that stand for IPv4 ones behind a translator.
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An address that may be connected to."""

    #: With the number in place of the name.
    url: str
    #: What the server is called: for the header Host, and for TLS.
    host: str
    name: str


async def checked(url: str, *, allow_private: bool) -> Checked:
    """Look a URL's host up and judge it. Raises ModelAddressRefused, or ModelUnavailable for an unknown name."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ModelAddressRefused(f"not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not name or "@" in parts.netloc or parts.query or parts.fragment:
        raise ModelAddressRefused("not the URL of a server")
    if parts.scheme == "http" and not allow_private:
        # Whoever listens on the way would read the conversation, and the key.
        raise ModelAddressRefused("not https")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ModelUnavailable(f"the name cannot be looked up: {error}") from None
    numbers = [str(address[0]).partition("%")[0] for *_, address in found]
    if not allow_private and not all(is_public(number) for number in numbers):
        raise ModelAddressRefused("not a public address")
    number = f"[{numbers[0]}]" if ":" in numbers[0] else numbers[0]
    return Checked(url=f"{parts.scheme}://{number}:{port}{parts.path}", host=parts.netloc, name=name)


def is_public(number: str) -> bool:
    """Say whether an address is one of the open internet, also where it stands for another one."""
    address = ipaddress.ip_address(number)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
