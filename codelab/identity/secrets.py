"""Random credentials and their digests."""

import hashlib
import secrets

API_KEY_PREFIX, TICKET_PREFIX, REFRESH_TOKEN_PREFIX = "clk_", "clt_", "clr_"


def new_secret(prefix: str) -> str:
    """Return a new credential of 256 random bits. The prefix shows people and log filters its kind."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """Return the digest under which a credential is stored."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
