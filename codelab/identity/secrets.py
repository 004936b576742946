"""Random credentials and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets

API_KEY, TICKET, REFRESH_TOKEN = "clk_", "clt_", "clr_"


def new_secret(prefix: str) -> str:
    """Return a new credential of 256 random bits; its prefix tells people and log filters what it is."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(secret: str) -> bytes:
    """Return what is stored of a credential."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
