"""Callers of requests and sockets: identifies them, enforces scopes and limits, and notices when they are signed out.

Credentials are tried in this order: tokens and keys; a ticket; a browser's session; a session that the same address
just opened by REST; the open-access user, on this machine only.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from limits import RateLimitItem
from structlog.contextvars import bind_contextvars

from codelab.identity.address import is_loopback, network_of
from codelab.identity.credentials import (
    Credential,
    by_internal_key,
    by_secret,
    expired_credential,
    invalid_credential,
    look_up,
)
from codelab.identity.models import CredentialKind, Scope
from codelab.identity.origin import require_origin
from codelab.identity.rate_limits import Counter, counters_for, hit, in_counter_thread, parse
from codelab.identity.request_credentials import RequestCredentials
from codelab.identity.revalidation import credential_monitor
from codelab.identity.tickets import find_opening_credential, record_opening, redeem_ticket
from sessions.billing import usage
from sessions.callers import Action
from sessions.database import in_thread
from sessions.errors import AccessDenied
from sessions.protocol.codes import ErrorCode

NOT_SIGNED_IN = "Not signed in. Sign in first: this server requires credentials."
TOKEN_IN_URL = (
    "Tokens and keys do not belong in a URL: send a header, a subprotocol, or a ticket from /api/v1/ws-ticket."
)
#: An address may do this many times what a user may, because several people can share it.
ADDRESS_LIMIT_FACTOR = 10
#: Credentials that a client sends on purpose; a browser adds its cookie by itself.
EXPLICIT_KINDS = frozenset({CredentialKind.TOKENS, CredentialKind.API_KEY, CredentialKind.INTERNAL})
LIMITS = {
    Action.CONNECTION: "connections",
    Action.READ: "reads",
    Action.CATALOG: "reads",
    Action.WRITE: "messages",
    Action.RESPONSE: "messages",
    Action.TURN: "turns",
    Action.IMAGE: "images",
}
#: The required scopes, of which one is enough.
SCOPES = {
    Action.CONNECTION: (Scope.READ,),
    Action.READ: (Scope.READ,),
    Action.WRITE: (Scope.WRITE,),
    Action.TURN: (Scope.WRITE,),
    Action.IMAGE: (Scope.WRITE,),
    Action.CATALOG: (Scope.LLM, Scope.READ),
    Action.COMPLETION: (Scope.LLM, Scope.WRITE),
    Action.RESPONSE: (Scope.LLM, Scope.WRITE),
}


def is_unlimited(address: str, *, is_proxied: bool) -> bool:
    """Return whether a person uses their own open-access service on this machine, where limits do not apply."""
    local = not settings.CODELAB_BEHIND_PROXY and not is_proxied and is_loopback(address)
    return bool(settings.OPEN_ACCESS_USER) and local


class IdentifiedCaller:
    """Implements `sessions.callers.Caller` for the credentials of one request or socket."""

    def __init__(self, request: RequestCredentials, *, opens_socket: bool) -> None:
        self._request = request
        self._opens_socket = opens_socket
        self._is_local = is_unlimited(request.address, is_proxied=request.is_proxied)
        self._credential: Credential | None = None

    @property
    def credential(self) -> Credential:
        """The credential, after `identify`."""
        if self._credential is None:
            raise RuntimeError("the caller is not identified yet")
        return self._credential

    @property
    def api_key(self) -> UUID | None:
        """The API key that the caller used, if any."""
        return UUID(self.credential.reference) if self.credential.kind is CredentialKind.API_KEY else None

    async def identify(self, key: str | None = None) -> User:
        """Return the user, who wants the session `key` if there is one; raises AccessDenied."""
        require_origin(self._request.origin, self._request.host)
        if self._credential is None:
            if self._opens_socket:
                await self._count(self._counters(Action.CONNECTION, "address"), ends_socket=True)
            self._credential = await in_thread(self._authenticate)(key)
        bind_contextvars(user_id=self._credential.user.pk)
        return self._credential.user

    async def authorize(self, *actions: Action) -> None:
        """Return when the user may do all of this now, and count it in one step; raises AccessDenied."""
        ends_socket = Action.CONNECTION in actions
        for action in actions:
            if self.credential.scopes.isdisjoint(SCOPES[action]):
                lacking = " or ".join(SCOPES[action])
                text = f"The token or key lacks the scope {lacking}."
                raise AccessDenied(ErrorCode.INSUFFICIENT_SCOPE, text, ends_socket=ends_socket)
        # A completion counts against the same limit as turns in sessions.
        counted = [Action.TURN if action is Action.COMPLETION else action for action in actions]
        counters = [
            counter
            for action in counted
            for whose in ("address", "user")
            # Sockets of an address are counted before their users are identified.
            if not (action is Action.CONNECTION and whose == "address")
            for counter in self._counters(action, whose)
        ]
        await self._count(counters, ends_socket=ends_socket)
        if Action.TURN in counted and not self._is_local:
            await self._count_model_tokens()

    async def signed_out(self) -> AccessDenied:
        """Return when the user is signed out, at most `CODELAB_RECHECK_SECONDS` later."""
        credential, remaining = self.credential, None
        if credential.expires_at is not None:
            remaining = max((credential.expires_at - timezone.now()).total_seconds(), 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(remaining):
                await credential_monitor().wait_until_invalid(credential)
        return expired_credential()

    async def record_opening(self, key: str) -> None:
        """Let a socket without credentials from this address follow the session for a while."""
        address = self._request.address
        if self.credential.kind in EXPLICIT_KINDS and address and settings.CODELAB_OPENED_SESSION_SECONDS:
            await in_thread(record_opening)(self.credential, key, address)

    def _authenticate(self, key: str | None) -> Credential:
        request = self._request
        if request.has_token_in_query:
            raise AccessDenied(ErrorCode.TOKEN_INVALID, TOKEN_IN_URL)
        credentials = [by_secret(secret) for secret in request.secrets]
        if request.internal_key is not None:
            credentials.append(by_internal_key(request.internal_key))
        if request.ticket is not None:
            if key is None:
                raise invalid_credential()
            credentials.append(redeem_ticket(request.ticket, key))
        if len({credential.user.pk for credential in credentials}) > 1:
            raise invalid_credential()
        credential = credentials[0] if credentials else self._implicit_credential(key)
        if credential is None:
            raise AccessDenied(ErrorCode.NOT_SIGNED_IN, NOT_SIGNED_IN)
        return credential

    def _implicit_credential(self, key: str | None) -> Credential | None:
        """Return the credential of a request that sends none on purpose."""
        request, credential = self._request, None
        if request.cookie:
            credential = look_up(CredentialKind.BROWSER, request.cookie)
        # A proxy that the service does not know of gives all clients one address.
        has_own_address = settings.CODELAB_BEHIND_PROXY or not request.is_proxied
        if credential is None and key and self._opens_socket and request.origin is None and has_own_address:
            credential = find_opening_credential(key, request.address)
        if credential is None and self._is_local:
            credential = look_up(CredentialKind.OPEN_ACCESS, "")
        return credential

    def _counters(self, action: Action, whose: str) -> list[Counter]:
        """Return the counters of an action, of the address or of the identified user; none where it has no limit."""
        if self._is_local or action not in LIMITS:
            return []
        is_address = whose == "address"
        name = network_of(self._request.address) if is_address else str(self.credential.user.pk)
        if not name:
            return []
        factor = ADDRESS_LIMIT_FACTOR if is_address else 1
        setting = settings.CODELAB_LIMITS[LIMITS[action]]
        return counters_for(setting, action, whose, name, factor=factor, what=LIMITS[action])

    async def _count(self, counters: list[Counter], *, ends_socket: bool) -> None:
        exceeded = await in_counter_thread(hit)(counters) if counters else None
        if exceeded is not None:
            raise _rate_limited(exceeded.counter.what, exceeded.seconds, ends_socket=ends_socket)

    async def _count_model_tokens(self) -> None:
        for limit in parse(settings.CODELAB_LIMITS["tokens"]):
            seconds = await in_thread(_seconds_until_tokens)(self.credential.user.pk, limit)
            if seconds:
                raise _rate_limited("model tokens", seconds, ends_socket=False)


def _seconds_until_tokens(user_id: int, limit: RateLimitItem) -> int:
    """Return in how many seconds enough usage leaves the window for the user to have tokens again; 0 for now."""
    now, window = timezone.now(), timedelta(seconds=limit.get_expiry())
    used = usage.tokens_used(user_id, now - window)
    total = sum(tokens for _, tokens in used)
    for begun_at, tokens in used:
        if total < limit.amount:
            return 0
        total -= tokens
        if total < limit.amount:
            return max(round((begun_at + window - now).total_seconds()), 1)
    return 0


def _rate_limited(what: str, seconds: int, *, ends_socket: bool) -> AccessDenied:
    text = f"Too many {what} for now. Try again in {seconds} seconds."
    return AccessDenied(ErrorCode.RATE_LIMITED, text, retry_after=seconds, ends_socket=ends_socket)
