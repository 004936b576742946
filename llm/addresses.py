"""Decides which caller-supplied addresses a worker may connect to, because it runs inside the operator's network.

A name is looked up once, all its addresses are checked, and the connection goes to one of them. So a name that changes
its address in between ("DNS rebinding") gains nothing.
"""

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from llm.errors import ModelAddressRefused, ModelUnavailable

#: Callers choose these names, and their name servers how long an answer takes: often half a minute.
LOOKUP_TIMEOUT_SECONDS = 3.0
#: Not those of the event loop's own executor, which looks up the operator's names.
_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="names")
_lookups: dict[tuple[str, int], Future[list[Any]]] = {}
_lock = threading.Lock()

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
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS):
            # Shielded, because other requests may wait for the same name.
            results = await asyncio.shield(asyncio.wrap_future(_look_up(name, port)))
    except TimeoutError:
        raise ModelUnavailable(f"the name cannot be looked up within {LOOKUP_TIMEOUT_SECONDS} s") from None
    except (OSError, UnicodeError) as error:
        raise ModelUnavailable(f"the name cannot be looked up: {error}") from None
    ips = [str(address[0]).partition("%")[0] for *_, address in results]
    if not allow_private and not all(map(is_public, ips)):
        raise ModelAddressRefused("not a public address")
    ip = f"[{ips[0]}]" if ":" in ips[0] else ips[0]
    return SafeAddress(url=f"{parts.scheme}://{ip}:{port}{parts.path}", host=parts.netloc, name=name)


def _look_up(name: str, port: int) -> Future[list[Any]]:
    """Return the look-up of a name that is under way, or begin one. A slow name holds one thread at a time."""
    with _lock:
        lookup = _lookups.get((name, port))
        if lookup is None:
            lookup = _lookups[name, port] = _threads.submit(socket.getaddrinfo, name, port, type=socket.SOCK_STREAM)
            lookup.add_done_callback(lambda _: _lookups.pop((name, port), None))
    return lookup


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
