"""The RSA keys that sign access tokens: made on first use, shared by all web processes through the database.

A private key is stored encrypted with CODELAB_SECRET_KEY. When that changes, the key cannot be read any more and a new
one takes its place. Old public keys stay in the JWKS for as long as tokens that they have signed can be good.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from joserfc.errors import JoseError
from joserfc.jwk import KeyParameters, KeySet, RSAKey

from codelab.identity.models import SigningKey

PARAMETERS: KeyParameters = {"use": "sig", "alg": "RS256"}
#: Seconds for which a process believes what it has read, and between two looks for a key that it does not know.
MEMORY, PATIENCE = 60.0, 1.0
#: How long a retired key still checks tokens; longer than any token is good, and than other processes' memory.
RETIREMENT = timedelta(hours=2)


@dataclass(frozen=True)
class Keys:
    """The keys as they were at one moment."""

    current: RSAKey
    #: All that may have signed a token that is still good, without their private halves.
    public: KeySet
    read_at: float

    def knows(self, kid: str) -> bool:
        """Say whether a key of this name checks tokens."""
        return any(key.kid == kid for key in self.public)


_keys: Keys | None = None


def keys(kid: str | None = None) -> Keys:
    """Return the keys, read again when they are old or do not have `kid`; asks the database now and then."""
    global _keys  # noqa: PLW0603 (a cache; losing a race costs one more query)
    known = _keys
    age = time.monotonic() - known.read_at if known else MEMORY
    if known is None or age >= MEMORY or (kid is not None and not known.knows(kid) and age >= PATIENCE):
        known = _keys = _read()
    return known


def forget() -> None:
    """Read the keys again at the next use."""
    global _keys  # noqa: PLW0603
    _keys = None


def rotate() -> str:
    """Make a new key the current one; returns its id. Other processes take it within MEMORY."""
    made = _new_key()
    with transaction.atomic():
        _retire(SigningKey.objects.select_for_update().filter(is_current=True).first())
        SigningKey.objects.bulk_create([made], ignore_conflicts=True)
    forget()
    return made.kid


def _read() -> Keys:
    row = SigningKey.objects.filter(is_current=True).first()
    current = _opened(row) if row else None
    if current is None:
        # Made before the transaction: it takes a while.
        made = _new_key()
        with transaction.atomic():
            _retire(row)
            SigningKey.objects.bulk_create([made], ignore_conflicts=True)
        row = SigningKey.objects.get(is_current=True)
        current = _opened(row)
    if current is None:
        raise RuntimeError("The signing key was made by a process with another CODELAB_SECRET_KEY.")
    since = timezone.now() - RETIREMENT
    good = SigningKey.objects.exclude(retired_at__lt=since).order_by("-created_at")
    return Keys(current, KeySet([RSAKey.import_key(key.public_jwk) for key in good]), time.monotonic())


def _retire(row: SigningKey | None) -> None:
    if row is not None:
        rows = SigningKey.objects.filter(pk=row.pk, is_current=True)
        rows.update(is_current=False, retired_at=timezone.now())


def _new_key() -> SigningKey:
    key = RSAKey.generate_key(2048, PARAMETERS, auto_kid=True)
    pem = key.as_pem(private=True, password=settings.SECRET_KEY)
    return SigningKey(kid=str(key.kid), private_pem=pem.decode(), public_jwk=key.as_dict(private=False))


def _opened(row: SigningKey) -> RSAKey | None:
    """Return the private key, or None when it was encrypted with another secret."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            return RSAKey.import_key(row.private_pem, {**PARAMETERS, "kid": row.kid}, password=secret)
        except (ValueError, JoseError):
            continue
    return None
