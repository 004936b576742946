"""Sign-in by password, the same for the token endpoint, the page /login and the admin.

Users sign in with a name or an e-mail address. After several failures for a name, or from an address, further attempts
are blocked for a while. Responses and their timing do not reveal whether a name exists.
"""

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
from codelab.identity.rate_limits import Counter, key_of

logger = structlog.get_logger(__name__)

NAME_FAILURE_LIMIT = parse("5 per 900 seconds")
ADDRESS_FAILURE_LIMIT = parse("10 per 900 seconds")


def lockout_seconds(name: str, address: str) -> int:
    """Return for how many seconds sign-in is blocked for this name or this address; 0 when it is not."""
    return max(counter.seconds_left() for counter in _counters(name, address))


class PasswordBackend(ModelBackend):
    """Django's own check, with limits and an audit log."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """Return the user if the password is right; raise PermissionDenied after too many failures."""
        if username is None or password is None:
            return None
        address = address_of(request) if request is not None else ""
        client_id = str(getattr(request, "oauth_client_id", ""))
        counters = _counters(username, address)
        # Counted before the password is checked, so that no guess of many at once slips through.
        waits = [counter.hit() for counter in counters]
        candidate = _find_user(username)
        where = {"client_id": client_id, "address": address}
        if any(waits):
            # No audit entry: the earlier failures have theirs, and anyone could fill the table with these.
            logger.warning("login_blocked", user_id=candidate.pk if candidate else None)
            raise PermissionDenied
        user = super().authenticate(request, username=candidate.username if candidate else username, password=password)
        if not isinstance(user, User):
            audit.record(AuditKind.LOGIN_FAILED, user_id=candidate.pk if candidate else None, **where)
            return None
        by_name, *by_address = counters
        by_name.clear()
        for counter in by_address:
            counter.undo()
        audit.record(AuditKind.LOGIN_SUCCESS, user_id=user.pk, **where)
        return user

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """Do the same; Django's own method would bypass the limits."""
        return await sync_to_async(self.authenticate)(request, username, password, **more)


def _counters(name: str, address: str) -> list[Counter]:
    by_name = Counter(NAME_FAILURE_LIMIT, key_of("password of", name.strip().casefold()))
    if not address:
        return [by_name]
    return [by_name, Counter(ADDRESS_FAILURE_LIMIT, key_of("password from", network_of(address)))]


def _find_user(name: str) -> User | None:
    """Return the user with this name, or the only active user with this e-mail address."""
    user = User.objects.filter(username=name).first()
    if user is None and "@" in name:
        users = list(User.objects.filter(email__iexact=name, is_active=True)[:2])
        user = users[0] if len(users) == 1 else None
    return user
