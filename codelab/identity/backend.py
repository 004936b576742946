"""Signing in by password, with the same care at every door: the token endpoint, the page /login, the admin.

A user is known by name or by e-mail address. After some failures for a name, or from an address, nobody may try for a
while; whether a name exists makes no difference, in what is answered and in how long it takes.
"""

from __future__ import annotations

from typing import Any

import structlog
from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from limits import parse

from codelab.identity import audit
from codelab.identity.address import address_of, network_of
from codelab.identity.models import AuditKind
from codelab.identity.rate_limits import Counter, name_of

logger = structlog.get_logger(__name__)

FAILURES_OF_A_NAME = parse("5 per 900 seconds")
FAILURES_FROM_AN_ADDRESS = parse("10 per 900 seconds")


def locked_for(name: str, address: str) -> int:
    """Return for how many seconds nobody may try this name, or try anything from this address; 0 when they may."""
    return max(counter.left() for counter in _counters(name, address))


class PasswordBackend(ModelBackend):
    """Django's own check, with limits and an audit log around it."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """Return the user when the password is right. Raises PermissionDenied while there were too many failures."""
        if username is None or password is None:
            return None
        address = address_of(request) if request is not None else ""
        client_id = str(getattr(request, "oauth_client_id", ""))
        counted = _counters(username, address)
        # Counted before the password is looked at: of many guesses at once none may slip through.
        blocked = [counter for counter in counted if counter.hit()]
        known = _known(username)
        where = {"client_id": client_id, "address": address}
        if blocked:
            # The failures before are in the audit log; rows for these would let anybody fill it.
            logger.warning("login_blocked", user_id=known.pk if known else None)
            raise PermissionDenied
        user = super().authenticate(request, username=known.username if known else username, password=password)
        if not isinstance(user, User):
            audit.record(AuditKind.LOGIN_FAILED, user_id=known.pk if known else None, **where)
            return None
        by_name, *by_address = counted
        by_name.clear()
        for counter in by_address:
            counter.take_back()
        audit.record(AuditKind.LOGIN_SUCCESS, user_id=user.pk, **where)
        return user

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """The same; Django's own would go past the limits."""
        return await sync_to_async(self.authenticate)(request, username, password, **more)


def _counters(name: str, address: str) -> list[Counter]:
    by_name = Counter(FAILURES_OF_A_NAME, name_of("password of", name.strip().casefold()))
    if not address:
        return [by_name]
    return [by_name, Counter(FAILURES_FROM_AN_ADDRESS, name_of("password from", network_of(address)))]


def _known(name: str) -> User | None:
    """Return the user with this name, or the only one with this e-mail address."""
    user = User.objects.filter(username=name).first()
    if user is None and "@" in name:
        found = list(User.objects.filter(email__iexact=name, is_active=True)[:2])
        user = found[0] if len(found) == 1 else None
    return user
