"""Access tokens: JWTs signed with RS256. They name their sign-in, so that revoking it invalidates them.

A token's header is ignored, except for the id of one of our own keys.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import GuestProtocol, Key

from codelab.identity.keys import signing_keys
from codelab.identity.models import TokenFamily

ALGORITHM = "RS256"
AUDIENCE = "codelab-api"
#: The clocks of two of our machines may differ by this much.
LEEWAY_SECONDS = 5
MAX_TOKEN_CHARACTERS = 8192

_SUBJECTS = uuid.UUID("7c4f4d0c-6a0e-4b7e-9d57-2f0f3c9a5b11")


class InvalidToken(Exception):
    """Not a token of this service."""


class ExpiredToken(InvalidToken):
    """The token was valid once."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The claims of a valid token."""

    family_id: uuid.UUID
    subject: str
    scopes: frozenset[str]
    expires_at: datetime


def subject_of(user_id: int) -> str:
    """Return a user's name in tokens: stable, and without a fact about the user."""
    return str(uuid.uuid5(_SUBJECTS, str(user_id)))


def issue(family: TokenFamily) -> str:
    """Return a new access token of a sign-in. May read the signing keys from the database."""
    key = signing_keys().current
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


def verify(text: str) -> AccessToken:
    """Return the claims of a token; raises InvalidToken. May read the signing keys from the database."""
    if len(text) > MAX_TOKEN_CHARACTERS:
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
        for key in signing_keys(kid).public:
            if key.kid == kid:
                return key
    raise InvalidToken


def _expected() -> jwt.JWTClaimsRegistry:
    required: Any = {"essential": True}
    return jwt.JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss=required | {"value": settings.CODELAB_TOKEN_ISSUER},
        aud=required | {"value": AUDIENCE},
        type=required | {"value": "access"},
        **dict.fromkeys(("sub", "exp", "iat", "nbf", "jti", "sid", "scope"), required),
    )


def _token(claims: dict[str, Any]) -> AccessToken:
    return AccessToken(
        family_id=uuid.UUID(claims["sid"]),
        subject=claims["sub"],
        scopes=frozenset(str(claims["scope"]).split()),
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
    )
