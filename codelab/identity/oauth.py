"""`/oauth/token` and `/oauth/revoke`, in the shapes of the original's auth service.

Errors never reveal whether a user or a client exists.
"""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from codelab.identity import client_credentials, token_families
from codelab.identity.address import address_of, network_of
from codelab.identity.backend import lockout_seconds
from codelab.identity.callers import is_unlimited
from codelab.identity.client_credentials import form_field
from codelab.identity.models import Client, Scope, join_scopes
from codelab.identity.oauth_errors import OAuthError, invalid_client, invalid_request, missing_fields, of_error
from codelab.identity.origin import require_origin
from codelab.identity.rate_limits import counters_for, hit, in_counter_thread
from codelab.identity.token_families import InvalidRefreshToken, RefreshTokenReused, TokenPair
from sessions.database import in_thread
from sessions.models import new_id

logger = structlog.get_logger(__name__)

#: Hashing a password takes 0.1 s of processor time: neither sockets nor refreshes wait behind guesses.
_PASSWORD_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")
_REFRESH_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="refreshes")
#: Sign-ins that may wait or be under way, about a second of work. More are refused.
MAX_WAITING_PASSWORDS = 20
_waiting_passwords = BoundedSemaphore(MAX_WAITING_PASSWORDS)

#: Grants of OAuth that this service does not implement.
UNIMPLEMENTED_GRANTS = frozenset({"authorization_code", "implicit", "urn:ietf:params:oauth:grant-type:device_code"})
WRONG_PASSWORD = "Invalid username or password"
WRONG_REFRESH_TOKEN = "Invalid or expired refresh token"


@csrf_exempt
@require_POST
@sensitive_post_parameters()
async def token(request: HttpRequest) -> HttpResponse:
    """Issue tokens."""
    return await _answer(request, _token)


@csrf_exempt
@require_POST
@sensitive_post_parameters()
async def revoke(request: HttpRequest) -> HttpResponse:
    """Revoke the sign-in of a refresh or access token (RFC 7009); the response is the same when it does not exist."""
    return await _answer(request, _revoke)


async def _answer(request: HttpRequest, endpoint: Callable[[HttpRequest], Awaitable[dict[str, Any]]]) -> HttpResponse:
    try:
        require_origin(request.headers.get("Origin"), request.headers.get("Host", ""))
        await _limit(request)
        response: HttpResponse = JsonResponse(await endpoint(request))
    except Exception as error:
        response = of_error(error).response()
    return _with_headers(request, response)


async def _token(request: HttpRequest) -> dict[str, Any]:
    client_id = client_credentials.of_request(request).client_id
    sent = {"grant_type": form_field(request, "grant_type"), "client_id": client_id}
    if missing := [name for name, value in sent.items() if not value]:
        raise missing_fields(missing)
    return _body(await _issue(request, _grant(sent["grant_type"])))


async def _revoke(request: HttpRequest) -> dict[str, Any]:
    secret = form_field(request, "token")
    if not secret:
        raise invalid_request("Missing required parameter: token")

    def revoke_family() -> None:
        family = token_families.find_family(secret)
        if family is not None:
            token_families.revoke(family, address=address_of(request))

    await in_thread(revoke_family)()
    return {}


async def _issue(request: HttpRequest, grant: Callable[[HttpRequest], TokenPair]) -> TokenPair:
    """Run a grant in its threads."""
    if grant is _refresh_token:
        return await database_sync_to_async(grant, thread_sensitive=False, executor=_REFRESH_THREADS)(request)
    if not _waiting_passwords.acquire(blocking=False):
        text = "Too many sign-ins at the moment. Try again in 2 seconds."
        raise OAuthError(503, "temporarily_unavailable", text, retry_after=2)
    try:
        return await database_sync_to_async(grant, thread_sensitive=False, executor=_PASSWORD_THREADS)(request)
    finally:
        _waiting_passwords.release()


def _grant(name: str) -> Callable[[HttpRequest], TokenPair]:
    grants = {"password": _password, "refresh_token": _refresh_token, "client_credentials": _client_credentials}
    if name in grants:
        return grants[name]
    verb = "implemented" if name in UNIMPLEMENTED_GRANTS else "supported"
    raise OAuthError(400, "unsupported_grant_type", f"Grant type '{name[:100]}' is not {verb}")


def _password(request: HttpRequest) -> TokenPair:
    username, password = form_field(request, "username"), form_field(request, "password")
    if not username or not password:
        raise invalid_request("Missing required parameters: username, password")
    address = address_of(request)
    seconds = lockout_seconds(username, address)
    if seconds:
        text = f"Too many failed attempts. Try again in {seconds} seconds."
        raise OAuthError(429, "invalid_grant", text, retry_after=seconds)
    client = _client(request)
    scopes = _scopes(request, client)
    request.oauth_client_id = client.client_id  # type: ignore[attr-defined]  # for the audit log
    user = authenticate(request, username=username, password=password)
    if not isinstance(user, User):
        raise _wrong_password()
    return token_families.begin(user, client, scopes, address=address, refreshable=True)


def _refresh_token(request: HttpRequest) -> TokenPair:
    secret = form_field(request, "refresh_token")
    if not secret:
        raise invalid_request("Missing required parameter: refresh_token")
    try:
        return token_families.refresh(secret, _client(request), address=address_of(request))
    except RefreshTokenReused:
        text = "Refresh token has been revoked (reuse detected)"
        raise OAuthError(401, "invalid_grant", text) from None
    except InvalidRefreshToken:
        raise OAuthError(401, "invalid_grant", WRONG_REFRESH_TOKEN) from None


def _client_credentials(request: HttpRequest) -> TokenPair:
    client = _client(request)
    if not client.secret_hash or client.user is None or not client.user.is_active:
        raise OAuthError(401, "invalid_client", "This client cannot sign in by itself")
    scopes = _scopes(request, client)
    return token_families.begin(client.user, client, scopes, address=address_of(request), refreshable=False)


def _client(request: HttpRequest) -> Client:
    """Return the requesting client. A secret is required if the client has one, and must be right if it is sent."""
    sent = client_credentials.of_request(request)
    client = Client.objects.select_related("user").filter(client_id=sent.client_id).first()
    if client is None or not client.is_active:
        # The original knows no other clients than people's.
        raise invalid_client() if sent.is_basic or _is_for_itself(request) else _wrong_password()
    if (sent.secret or client.secret_hash) and not check_password(sent.secret, client.secret_hash or "!"):
        raise invalid_client()
    return client


def _scopes(request: HttpRequest, client: Client) -> str:
    """Return the scopes of the new token, by default reading and writing."""
    allowed = set(client.scopes.split())
    requested = set(form_field(request, "scope").split()) or allowed & {str(Scope.READ), str(Scope.WRITE)}
    if not requested or not requested <= allowed:
        text = "The client may not have a scope that it asks for."
        raise OAuthError(400, "invalid_scope", text) if _is_for_itself(request) else _wrong_password()
    return join_scopes(requested)


def _is_for_itself(request: HttpRequest) -> bool:
    """Return whether a client signs in without a user, which the original's clients never do."""
    return form_field(request, "grant_type") == "client_credentials"


def _wrong_password() -> OAuthError:
    return OAuthError(401, "invalid_grant", WRONG_PASSWORD)


async def _limit(request: HttpRequest) -> None:
    address = address_of(request)
    if is_unlimited(address, is_proxied="X-Forwarded-For" in request.headers):
        return
    limits = counters_for(settings.CODELAB_LIMITS["sign_ins"], "token requests from", network_of(address))
    exceeded = await in_counter_thread(hit)(limits)
    if exceeded is not None:
        text = f"Too many requests. Try again in {exceeded.seconds} seconds."
        raise OAuthError(429, "rate_limit_exceeded", text, retry_after=exceeded.seconds)


def _body(token_pair: TokenPair) -> dict[str, Any]:
    return {
        "access_token": token_pair.access_token,
        **({"refresh_token": token_pair.refresh_token} if token_pair.refresh_token else {}),
        "token_type": "bearer",
        "expires_in": settings.CODELAB_ACCESS_TOKEN_SECONDS,
        "scope": token_pair.scopes,
    }


def _with_headers(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    response["Pragma"] = "no-cache"
    correlation_id = request.headers.get("X-Correlation-ID", "")
    if not (correlation_id.isascii() and 0 < len(correlation_id) <= 100):
        correlation_id = str(new_id())
    response["X-Correlation-ID"] = correlation_id
    return response
