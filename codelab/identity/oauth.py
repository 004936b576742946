"""`/oauth/token`, `/oauth/revoke` and `/.well-known/jwks.json`, with the shapes of the original's auth service.

Its clients read the bodies, so errors are the original's, also where RFC 6749 has another status. What they say never
tells whether a user or a client exists.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_plus

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from codelab.identity import token_families
from codelab.identity.address import address_of, network_of
from codelab.identity.backend import locked_for
from codelab.identity.callers import is_unlimited
from codelab.identity.keys import keys
from codelab.identity.models import Client, Scope, spaced
from codelab.identity.rate_limits import counters, hit_all, in_counter_thread
from codelab.identity.token_families import Issued, RefreshRefused, RefreshTokenReused
from sessions.database import in_thread
from sessions.models import new_id

logger = structlog.get_logger(__name__)

#: Hashing a password takes a tenth of a second of a processor; sockets must not wait behind guesses.
_PASSWORDS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")

#: Grants that OAuth has and this service does not.
UNIMPLEMENTED = frozenset({"authorization_code", "implicit", "urn:ietf:params:oauth:grant-type:device_code"})
WRONG_PASSWORD = "Invalid username or password"
WRONG_REFRESH_TOKEN = "Invalid or expired refresh token"


class OAuthError(Exception):
    """A request that gets no token, with what is answered."""

    def __init__(self, status: int, error: str, description: str, *, retry_after: int = 0) -> None:
        super().__init__(description)
        self.status, self.error, self.retry_after = status, error, retry_after

    def response(self) -> HttpResponse:
        """Return the answer."""
        response = JsonResponse({"error": self.error, "error_description": str(self)}, status=self.status)
        if self.retry_after:
            response["Retry-After"] = str(self.retry_after)
        if self.error == "invalid_client":
            response["WWW-Authenticate"] = 'Basic realm="codelab"'
        return response


@csrf_exempt
@require_POST
@sensitive_post_parameters()
async def token(request: HttpRequest) -> HttpResponse:
    """Answer a request for tokens."""
    try:
        missing = [name for name in ("grant_type", "client_id") if not _field(request, name)]
        if missing:
            response: HttpResponse = JsonResponse({"detail": [_missing(name) for name in missing]}, status=422)
        else:
            await _limit(request)
            grant = _grant(_field(request, "grant_type"))
            issued = await database_sync_to_async(grant, thread_sensitive=False, executor=_PASSWORDS)(request)
            response = JsonResponse(_body(issued))
    except OAuthError as error:
        response = error.response()
    except DatabaseError as error:
        logger.warning("token_not_issued", error=type(error).__name__)
        text = "The server cannot look anything up at the moment. Try again in a moment."
        response = OAuthError(503, "temporarily_unavailable", text, retry_after=2).response()
    return _finished(request, response)


@csrf_exempt
@require_POST
@sensitive_post_parameters()
async def revoke(request: HttpRequest) -> HttpResponse:
    """End the sign-in that a refresh or access token belongs to (RFC 7009); says the same when there is none."""
    secret = _field(request, "token")

    def end() -> None:
        family = token_families.family_of(secret)
        if family is not None:
            token_families.revoke(family, address=address_of(request))

    try:
        await _limit(request)
        if not secret:
            raise OAuthError(400, "invalid_request", "Missing required parameter: token")
        await in_thread(end)()
        response: HttpResponse = JsonResponse({})
    except OAuthError as error:
        response = error.response()
    return _finished(request, response)


@require_GET
async def jwks(_request: HttpRequest) -> HttpResponse:
    """Return the public keys that check access tokens."""
    found = await in_thread(keys)()
    response = JsonResponse(found.public.as_dict(private=False))
    response["Cache-Control"] = "public, max-age=3600"
    return response


def _grant(name: str) -> Callable[[HttpRequest], Issued]:
    grants = {"password": _password, "refresh_token": _refresh_token, "client_credentials": _client_credentials}
    if name in grants:
        return grants[name]
    what = "implemented" if name in UNIMPLEMENTED else "supported"
    raise OAuthError(400, "unsupported_grant_type", f"Grant type '{name[:100]}' is not {what}")


def _password(request: HttpRequest) -> Issued:
    username, password = _field(request, "username"), _field(request, "password")
    if not username or not password:
        raise OAuthError(400, "invalid_request", "Missing required parameters: username, password")
    address = address_of(request)
    locked = locked_for(username, address)
    if locked:
        text = f"Too many failed attempts. Try again in {locked} seconds."
        raise OAuthError(429, "invalid_grant", text, retry_after=locked)
    client = _client(request)
    scopes = _scopes(request, client)
    request.oauth_client_id = client.client_id  # type: ignore[attr-defined]  # for the audit log
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise OAuthError(401, "invalid_grant", WRONG_PASSWORD)
    return token_families.begin(user, client, scopes, address=address, refreshable=True)


def _refresh_token(request: HttpRequest) -> Issued:
    secret = _field(request, "refresh_token")
    if not secret:
        raise OAuthError(400, "invalid_request", "Missing required parameter: refresh_token")
    try:
        return token_families.refresh(secret, _client(request), address=address_of(request))
    except RefreshTokenReused:
        text = "Refresh token has been revoked (reuse detected)"
        raise OAuthError(401, "invalid_grant", text) from None
    except RefreshRefused:
        raise OAuthError(401, "invalid_grant", WRONG_REFRESH_TOKEN) from None


def _client_credentials(request: HttpRequest) -> Issued:
    client = _client(request)
    if not client.secret_hash or client.user is None or not client.user.is_active:
        raise OAuthError(401, "invalid_client", "This client cannot sign in by itself")
    scopes = _scopes(request, client)
    return token_families.begin(client.user, client, scopes, address=address_of(request), refreshable=False)


def _client(request: HttpRequest) -> Client:
    """Return the client that asks. A secret must be right wherever one is given, and given wherever there is one."""
    client = Client.objects.select_related("user").filter(client_id=_field(request, "client_id")).first()
    if client is None or not client.is_active:
        raise OAuthError(401, "invalid_grant", WRONG_PASSWORD)
    secret = _field(request, "client_secret") or _basic_secret(request, client.client_id)
    if (secret or client.secret_hash) and not check_password(secret, client.secret_hash or "!"):
        raise OAuthError(401, "invalid_client", "Invalid client credentials")
    return client


def _basic_secret(request: HttpRequest, client_id: str) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name = secret = ""
    if unquote_plus(name) != client_id or not secret:
        raise OAuthError(401, "invalid_client", "Invalid client credentials")
    return unquote_plus(secret)


def _scopes(request: HttpRequest, client: Client) -> str:
    """Return what the token will be good for; without a wish, reading and writing."""
    allowed = set(client.scopes.split())
    wanted = set(_field(request, "scope").split()) or allowed & {str(Scope.READ), str(Scope.WRITE)}
    if not wanted or not wanted <= allowed:
        raise OAuthError(401, "invalid_grant", WRONG_PASSWORD)
    return spaced(wanted)


async def _limit(request: HttpRequest) -> None:
    address = address_of(request)
    if is_unlimited(address, proxied="X-Forwarded-For" in request.headers):
        return
    counted = counters(settings.CODELAB_LIMITS["sign_ins"], "token requests from", network_of(address))
    seconds = await in_counter_thread(hit_all)(counted)
    if seconds:
        text = f"Too many requests. Try again in {seconds} seconds."
        raise OAuthError(429, "rate_limit_exceeded", text, retry_after=seconds)


def _field(request: HttpRequest, name: str) -> str:
    # PostgreSQL cannot look for a NUL, and nothing of ours has one.
    return str(request.POST.get(name, "")).replace("\x00", "�")


def _missing(name: str) -> dict[str, Any]:
    return {"type": "missing", "loc": ["body", name], "msg": "Field required", "input": None}


def _body(issued: Issued) -> dict[str, Any]:
    return {
        "access_token": issued.access_token,
        **({"refresh_token": issued.refresh_token} if issued.refresh_token else {}),
        "token_type": "bearer",
        "expires_in": settings.CODELAB_ACCESS_TOKEN_SECONDS,
        "scope": issued.scopes,
    }


def _finished(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["Pragma"] = "no-cache"
    wished = request.headers.get("X-Correlation-ID", "")
    response["X-Correlation-ID"] = wished if wished.isascii() and 0 < len(wished) <= 100 else str(new_id())
    return response
