"""Access tokens: JWTs that are signed with RS256 and name their sign-in, so that they end when it is revoked.

Whatever a token's header says about keys and algorithms is ignored, except the id of one of our own keys.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import GuestProtocol, Key

from codelab.identity.keys import keys
from codelab.identity.models import TokenFamily

ALGORITHM = "RS256"
AUDIENCE = "codelab-api"
#: Seconds by which the clocks of two of our machines may differ.
LEEWAY = 5
#: Longest token that is looked at, in characters.
LONGEST = 8192

_SUBJECTS = uuid.UUID("7c4f4d0c-6a0e-4b7e-9d57-2f0f3c9a5b11")


class InvalidToken(Exception):
    """Not a token of ours, or not one for here."""


class ExpiredToken(InvalidToken):
    """It was good once."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a good token says."""

    family_id: uuid.UUID
    subject: str
    scopes: frozenset[str]
    expires_at: datetime


def subject_of(user_id: int) -> str:
    """Return a user's name in tokens: always the same, and says nothing about the user."""
    return str(uuid.uuid5(_SUBJECTS, str(user_id)))


def issue(family: TokenFamily) -> str:
    """Return a new access token of a sign-in. Asks the database for the keys now and then."""
    key = keys().current
    now = int(time.time())
    claims = {
        "iss": settings.CODELAB_TOKEN_ISSUER,
        "sub": subject_of(family.user_id),
        "aud": AUDIENCE,
        "exp": now + settings.CODELAB_ACCESS_TOKEN_SECONDS,
        "iat": now,
        "nbf": now,
        "jti": str(uuid.uuid4()),
        "type": "access",
        "client_id": family.client.client_id,
        "scope": family.scopes,
        "sid": str(family.pk),
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, key)


def read(text: str) -> AccessToken:
    """Return what a token says; raises InvalidToken. Asks the database for the keys now and then."""
    if len(text) > LONGEST:
        raise InvalidToken
    try:
        claims = jwt.decode(text, _key_of, algorithms=[ALGORITHM]).claims
        _expected().validate(claims)
        return _token(claims)
    except ExpiredTokenError as error:
        raise ExpiredToken from error
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidToken from error


def _key_of(token: GuestProtocol) -> Key:
    kid = token.headers().get("kid")
    if isinstance(kid, str):
        for key in keys(kid).public:
            if key.kid == kid:
                return key
    raise InvalidToken


def _expected() -> jwt.JWTClaimsRegistry:
    must: Any = {"essential": True}
    return jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss=must | {"value": settings.CODELAB_TOKEN_ISSUER},
        aud=must | {"value": AUDIENCE},
        type=must | {"value": "access"},
        **dict.fromkeys(("sub", "exp", "iat", "nbf", "jti", "sid", "scope"), must),
    )


def _token(claims: dict[str, Any]) -> AccessToken:
    return AccessToken(
        family_id=uuid.UUID(claims["sid"]),
        subject=claims["sub"],
        scopes=frozenset(str(claims["scope"]).split()),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )
