"""Decides which caller-supplied addresses a worker may connect to, because it runs inside the operator's network.

A name is looked up once, all its addresses are checked, and the connection goes to one of them. So a name that changes
its address in between ("DNS rebinding") gains nothing.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from llm.errors import ModelAddressRefused, ModelUnavailable

#: IPv6 addresses that embed IPv4 ones, for a translator.
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeAddress:
    """An address that a worker may connect to."""

    #: With the IP address instead of the name.
    url: str
    #: For the header Host.
    host: str
    #: For TLS.
    name: str


async def resolve(url: str, *, allow_private: bool) -> SafeAddress:
    """Look up a URL's host and check it. Raises ModelAddressRefused, or ModelUnavailable for an unknown name."""
    try:
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ModelAddressRefused(f"not a URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not name or "@" in parts.netloc or parts.query or parts.fragment:
        raise ModelAddressRefused("not the URL of a server")
    if parts.scheme == "http" and not allow_private:
        # An eavesdropper would read the conversation and the key.
        raise ModelAddressRefused("not https")
    loop = asyncio.get_running_loop()
    try:
        results = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ModelUnavailable(f"the name cannot be looked up: {error}") from None
    ips = [str(address[0]).partition("%")[0] for *_, address in results]
    if not allow_private and not all(map(is_public, ips)):
        raise ModelAddressRefused("not a public address")
    ip = f"[{ips[0]}]" if ":" in ips[0] else ips[0]
    return SafeAddress(url=f"{parts.scheme}://{ip}:{port}{parts.path}", host=parts.netloc, name=name)


def is_public(ip: str) -> bool:
    """Return whether an IP address, and the one that it may embed, is on the public internet."""
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
