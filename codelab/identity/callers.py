"""Callers of requests and sockets: known by what they present, held to scopes and limits, looked at again.

The order in which callers are known: tokens and keys; a ticket; a browser's session; a session that was just opened by
REST from the same address; the open-access user, on this machine only; nobody.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from limits import RateLimitItem

from codelab.identity.address import is_loopback, network_of
from codelab.identity.credentials import (
    Credential,
    by_internal_key,
    by_secret,
    expired,
    invalid,
    look_up,
    refused,
)
from codelab.identity.models import Kind, Scope
from codelab.identity.origin import require_origin
from codelab.identity.rate_limits import counters, hit_all, in_counter_thread, parse
from codelab.identity.request_credentials import Presented
from codelab.identity.revalidation import recheck
from codelab.identity.tickets import by_opening, by_ticket, note_opening
from sessions.billing import usage
from sessions.callers import Use
from sessions.database import in_thread
from sessions.errors import Refusal
from sessions.protocol import CloseCode, ErrorCode

NOT_SIGNED_IN = "Sign in first: this server does not answer without credentials."
IN_QUERY = (
    "Tokens and keys do not belong into an address: send a header, a subprotocol, or a ticket of /api/v1/ws-ticket."
)
#: What an address may do, in multiples of what a user may: several people can share one.
FACTOR_OF_AN_ADDRESS = 10
#: Credentials that a person or a program has sent for this request, and not a browser or nobody.
SENT = frozenset({Kind.TOKENS, Kind.API_KEY, Kind.INTERNAL})
LIMITS = {Use.CONNECTION: "connections", Use.WRITE: "messages", Use.TURN: "turns", Use.IMAGE: "images"}
#: The scopes of which one is enough.
SCOPES = {
    Use.CONNECTION: (Scope.READ,),
    Use.READ: (Scope.READ,),
    Use.WRITE: (Scope.WRITE,),
    Use.TURN: (Scope.WRITE,),
    Use.IMAGE: (Scope.WRITE,),
    Use.CATALOG: (Scope.LLM, Scope.READ),
    Use.COMPLETION: (Scope.LLM, Scope.WRITE),
}


def is_unlimited(address: str, *, proxied: bool) -> bool:
    """Say whether this is the open service of one person on one machine, where limits are in the way."""
    local = not settings.CODELAB_BEHIND_PROXY and not proxied and is_loopback(address)
    return bool(settings.OPEN_ACCESS_USER) and local


class IdentifiedCaller:
    """A caller (`sessions.callers.Caller`) that is known by what it has presented."""

    def __init__(self, presented: Presented, *, opens_socket: bool) -> None:
        self._presented = presented
        self._opens_socket = opens_socket
        self._is_local = is_unlimited(presented.address, proxied=presented.proxied)
        self._credential: Credential | None = None

    @property
    def credential(self) -> Credential:
        """The credential, after `identify`."""
        if self._credential is None:
            raise RuntimeError("nobody has been identified yet")
        return self._credential

    @property
    def api_key(self) -> UUID | None:
        """The API key that the identified user came with, if it was one."""
        return UUID(self.credential.reference) if self.credential.kind is Kind.API_KEY else None

    async def identify(self, key: str | None = None) -> User:
        """Return the user, who wants the session `key` if there is one; raises Refusal."""
        require_origin(self._presented.origin, self._presented.host)
        if self._credential is None:
            if self._opens_socket:
                await self._count(Use.CONNECTION, network_of(self._presented.address), "address")
            self._credential = await in_thread(self._known)(key)
        return self._credential.user

    async def permit(self, use: Use) -> None:
        """Return when the user may do this now, and count it; raises Refusal."""
        if self.credential.scopes.isdisjoint(SCOPES[use]):
            lacking = " or ".join(SCOPES[use])
            text = f"The token or key is not good for this: it lacks the scope {lacking}."
            close_code = CloseCode.NOT_ALLOWED if use is Use.CONNECTION else None
            raise Refusal(ErrorCode.INSUFFICIENT_SCOPE, text, status=403, close_code=close_code)
        if use in (Use.READ, Use.CATALOG) or self._is_local:
            return
        if use is Use.COMPLETION:
            # It counts with the turns in sessions.
            use = Use.TURN
        if use is not Use.CONNECTION:
            await self._count(use, network_of(self._presented.address), "address")
        await self._count(use, str(self.credential.user.pk), "user")
        if use is Use.TURN:
            await self._count_model_tokens()

    async def ended(self) -> Refusal:
        """Return as soon as the user is nobody any more, within `CODELAB_RECHECK_SECONDS`."""
        credential, left = self.credential, None
        if credential.expires_at is not None:
            left = max((credential.expires_at - timezone.now()).total_seconds(), 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await recheck().end_of(credential)
        return expired()

    async def opened(self, key: str) -> None:
        """Let a socket without credentials follow the session for a while, where the request had some."""
        address = self._presented.address
        if self.credential.kind in SENT and address and settings.CODELAB_OPENED_SESSION_SECONDS:
            await in_thread(note_opening)(self.credential, key, address)

    def _known(self, key: str | None) -> Credential:
        presented = self._presented
        if presented.in_query:
            raise refused(ErrorCode.TOKEN_INVALID, IN_QUERY)
        found = [by_secret(secret) for secret in presented.secrets]
        if presented.internal_key is not None:
            found.append(by_internal_key(presented.internal_key))
        if presented.ticket is not None:
            if key is None:
                raise invalid()
            found.append(by_ticket(presented.ticket, key))
        if len({credential.user.pk for credential in found}) > 1:
            raise invalid()
        credential = found[0] if found else self._implied(key)
        if credential is None:
            raise refused(ErrorCode.NOT_SIGNED_IN, NOT_SIGNED_IN)
        return credential

    def _implied(self, key: str | None) -> Credential | None:
        """Return who it is that presents nothing."""
        presented, credential = self._presented, None
        if presented.cookie:
            credential = look_up(Kind.BROWSER, presented.cookie)
        if credential is None and key is not None and self._opens_socket and presented.origin is None:
            credential = by_opening(key, presented.address)
        if credential is None and self._is_local:
            credential = look_up(Kind.OPEN_ACCESS, "")
        return credential

    async def _count(self, use: Use, name: str, whose: str) -> None:
        if self._is_local or not name:
            return
        factor = FACTOR_OF_AN_ADDRESS if whose == "address" else 1
        counted = counters(settings.CODELAB_LIMITS[LIMITS[use]], use, whose, name, factor=factor)
        seconds = await in_counter_thread(hit_all)(counted) if counted else 0
        if seconds:
            raise _limited(LIMITS[use], seconds, closes=use is Use.CONNECTION)

    async def _count_model_tokens(self) -> None:
        for limit in parse(settings.CODELAB_LIMITS["tokens"]):
            seconds = await in_thread(_until_tokens)(self.credential.user.pk, limit)
            if seconds:
                raise _limited("tokens of the model", seconds, closes=False)


def _until_tokens(user_id: int, limit: RateLimitItem) -> int:
    """Return in how many seconds so many turns have left the window that there are tokens again; 0 when there are."""
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


def _limited(what: str, seconds: int, *, closes: bool) -> Refusal:
    text = f"Too many {what} for now. Try again in {seconds} seconds."
    close_code = CloseCode.RATE_LIMITED if closes else None
    return Refusal(ErrorCode.RATE_LIMITED, text, status=429, close_code=close_code, retry_after=seconds)
