"""Encrypts stored secrets that must be readable again, such as users' keys for providers.

Each text gets its own key, derived from the operator's secret and the place where the text is stored. So a text must
never decrypt after it was changed or copied to another row.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class Unreadable(Exception):
    """The text was changed, or encrypted for another place or with a secret that the operator has removed."""


def encrypt(text: str, place: str) -> str:
    """Return the text, encrypted for a place with the newest secret."""
    return encrypt_bytes(text.encode(), place)


def decrypt(token: str, place: str) -> str:
    """Return a text that was encrypted for a place with any of the secrets. Raises Unreadable."""
    return decrypt_bytes(token, place).decode()


def encrypt_bytes(data: bytes, place: str) -> str:
    """Return bytes, encrypted for a place, as a text that URLs may have."""
    return _keys(place).encrypt(data).decode()


def decrypt_bytes(token: str, place: str) -> bytes:
    """Return bytes that were encrypted for a place with any of the secrets. Raises Unreadable."""
    try:
        return _keys(place).decrypt(token.encode())
    except InvalidToken:
        raise Unreadable(place) from None


def _keys(place: str) -> MultiFernet:
    return MultiFernet([Fernet(_derive(secret, place)) for secret in settings.CODELAB_ENCRYPTION_KEYS])


def _derive(secret: str, place: str) -> bytes:
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"codelab stored secret: {place}".encode())
    return base64.urlsafe_b64encode(hkdf.derive(secret.encode()))
