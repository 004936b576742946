"""The RSA keys that sign access tokens: created on first use, shared by all web processes through the database.

A private key is stored encrypted with CODELAB_SECRET_KEY. When that changes, the key cannot be read any more and a new
one replaces it. A rotated key is published at once and signs only when every program that caches the JWKS has it; until
then the key before it signs. Old public keys stay in the JWKS while tokens that they signed can be valid.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from joserfc.errors import JoseError
from joserfc.jwk import KeyParameters, KeySet, RSAKey

from codelab.identity.models import SigningKey

PARAMETERS: KeyParameters = {"use": "sig", "alg": "RS256"}
#: A process reads the keys again after this long.
CACHE_SECONDS = 60.0
#: And at most this often because a token names an unknown key.
UNKNOWN_KEY_INTERVAL_SECONDS = 1.0
#: Programs that verify tokens may keep the JWKS for this long.
JWKS_MAX_AGE_SECONDS = 900
#: From the publication of a new key to its first signature: longer than anyone caches keys without it.
PUBLICATION = timedelta(seconds=JWKS_MAX_AGE_SECONDS + CACHE_SECONDS + 60)
#: How long a retired key still verifies tokens: longer than a token lives, and than other processes cache keys.
RETIREMENT = timedelta(hours=2)


@dataclass(frozen=True)
class SigningKeys:
    """The keys as read at one moment."""

    current: RSAKey
    #: All keys that may have signed a valid token, without their private halves.
    public: KeySet
    read_at: float

    def has(self, kid: str) -> bool:
        """Return whether a key with this id verifies tokens."""
        return any(key.kid == kid for key in self.public)


_keys: SigningKeys | None = None


def signing_keys(kid: str | None = None) -> SigningKeys:
    """Return the keys, read from the database again when they are old or do not have `kid`."""
    global _keys  # noqa: PLW0603 (a cache; losing a race costs one more query)
    cached = _keys
    age = time.monotonic() - cached.read_at if cached else CACHE_SECONDS
    is_unknown = cached is not None and kid is not None and not cached.has(kid)
    if cached is None or age >= CACHE_SECONDS or (is_unknown and age >= UNKNOWN_KEY_INTERVAL_SECONDS):
        cached = _keys = _load()
    return cached


def clear_cache() -> None:
    """Make the next use read the keys again."""
    global _keys  # noqa: PLW0603
    _keys = None


def rotate(*, at_once: bool = False) -> tuple[str, datetime]:
    """Publish a new key; return its id and when processes sign with it: after PUBLICATION, or at once."""
    new, begins_at = _new_key(), timezone.now() + (timedelta() if at_once else PUBLICATION)
    with transaction.atomic():
        _retire(SigningKey.objects.select_for_update().filter(is_current=True).first(), begins_at)
        if at_once:
            SigningKey.objects.filter(retired_at__gt=begins_at).update(retired_at=begins_at)
        SigningKey.objects.bulk_create([new], ignore_conflicts=True)
    clear_cache()
    return new.kid, begins_at


def _load() -> SigningKeys:
    # A key that was rotated and has not retired yet still signs.
    rows = [
        SigningKey.objects.filter(retired_at__gt=timezone.now()).order_by("retired_at").first(),
        SigningKey.objects.filter(is_current=True).first(),
    ]
    current = next(filter(None, map(_decrypt, filter(None, rows))), None)
    if current is None:
        # Outside the transaction, because it takes a while.
        new = _new_key()
        with transaction.atomic():
            _retire(rows[1], timezone.now())
            SigningKey.objects.bulk_create([new], ignore_conflicts=True)
        current = _decrypt(SigningKey.objects.get(is_current=True))
    if current is None:
        raise RuntimeError("The signing key was created by a process with another CODELAB_SECRET_KEY.")
    since = timezone.now() - RETIREMENT
    valid = SigningKey.objects.exclude(retired_at__lt=since).order_by("-created_at")
    return SigningKeys(current, KeySet([RSAKey.import_key(key.public_jwk) for key in valid]), time.monotonic())


def _retire(row: SigningKey | None, at: datetime) -> None:
    if row is not None:
        SigningKey.objects.filter(pk=row.pk, is_current=True).update(is_current=False, retired_at=at)


def _new_key() -> SigningKey:
    key = RSAKey.generate_key(2048, PARAMETERS, auto_kid=True)
    pem = key.as_pem(private=True, password=settings.SECRET_KEY)
    return SigningKey(kid=str(key.kid), private_pem=pem.decode(), public_jwk=key.as_dict(private=False))


def _decrypt(row: SigningKey) -> RSAKey | None:
    """Return the private key, None when it was encrypted with another secret."""
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        try:
            return RSAKey.import_key(row.private_pem, {**PARAMETERS, "kid": row.kid}, password=secret)
        except (ValueError, JoseError):
            continue
    return None
