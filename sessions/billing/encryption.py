"""Encrypts what is stored and has to be readable again, such as users' keys for providers; notices each change of it.

Each text gets a key of its own, drawn from the operator's secret and the name of the place where it is stored; so what
is copied to another row cannot be read there.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unreadable(Exception):
    """It was encrypted with a secret that is no longer in use, or for another place, or was changed."""


def encrypt(text: str, place: str) -> str:
    """Encrypt a text for a place, with the newest secret."""
    return _keys(place).encrypt(text.encode()).decode()


def decrypt(token: str, place: str) -> str:
    """Return the text that was encrypted for a place, with whichever secret in use. Raises Unreadable."""
    try:
        return _keys(place).decrypt(token.encode()).decode()
    except InvalidToken:
        raise Unreadable(place) from None


def _keys(place: str) -> MultiFernet:
    return MultiFernet([Fernet(_derived(secret, place)) for secret in settings.CODELAB_ENCRYPTION_KEYS])


def _derived(secret: str, place: str) -> bytes:
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"codelab stored secret: {place}".encode())
    return base64.urlsafe_b64encode(hkdf.derive(secret.encode()))
