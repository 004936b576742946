"""Sign-in by password, the same for the token endpoint, the page /login and the admin.

Users sign in with a name or an e-mail address. After several failures for a name from one address, further attempts
from there are blocked for a while: others cannot lock a user out. Slower limits hold for a name from anywhere, and for
an address; they do not block a user at an address where that user signed in before. Responses and their timing do not
reveal whether a name exists.
"""

from datetime import timedelta
from typing import Any

import structlog
from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone
from limits import parse

from codelab.identity import audit, rate_limits
from codelab.identity.address import address_of, network_of
from codelab.identity.models import AuditEntry, AuditKind
from codelab.identity.rate_limits import Counter, key_of

logger = structlog.get_logger(__name__)

#: For a name from one address.
PAIR_FAILURE_LIMIT = parse("5 per 900 seconds")
#: For a name from anywhere: who has many addresses can reach it, which then blocks unknown addresses only.
NAME_FAILURE_LIMIT = parse("100 per 3600 seconds")
#: For an address, which a whole office may share.
ADDRESS_FAILURE_LIMIT = parse("100 per 900 seconds")
#: An address is known to a user for this long after a sign-in.
KNOWN_ADDRESS_AGE = timedelta(days=30)


def lockout_seconds(name: str, address: str) -> int:
    """Return for how many seconds sign-in is blocked for this name from this address; 0 when it is not."""
    exceeded = rate_limits.check(_counters(name, address, _find_user(name)))
    return exceeded.seconds if exceeded is not None else 0


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
        candidate = _find_user(username)
        counters = _counters(username, address, candidate)
        # Counted before the password is checked, so that no guess of many at once slips through. While sign-in is
        # blocked nothing is counted, so that further guesses do not block it for longer.
        is_blocked = rate_limits.hit(counters) is not None
        where = {"client_id": client_id, "address": address}
        if is_blocked:
            # No audit entry: the earlier failures have theirs, and anyone could fill the table with these.
            logger.warning("login_blocked", user_id=candidate.pk if candidate else None)
            raise PermissionDenied
        user = super().authenticate(request, username=candidate.username if candidate else username, password=password)
        if not isinstance(user, User):
            audit.record(AuditKind.LOGIN_FAILED, user_id=candidate.pk if candidate else None, **where)
            return None
        pair, *others = counters
        rate_limits.clear([pair])
        if others:
            rate_limits.undo(others)
        audit.record(AuditKind.LOGIN_SUCCESS, user_id=user.pk, **where)
        return user

    async def aauthenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """Do the same; Django's own method would bypass the limits."""
        return await sync_to_async(self.authenticate)(request, username, password, **more)


def _counters(name: str, address: str, user: User | None) -> list[Counter]:
    name, network = name.strip().casefold(), network_of(address)
    pair = Counter(PAIR_FAILURE_LIMIT, key_of("password of", name, "from", network))
    everywhere = [Counter(NAME_FAILURE_LIMIT, key_of("password of", name))]
    if network:
        everywhere.append(Counter(ADDRESS_FAILURE_LIMIT, key_of("password from", network)))
    if user is not None and network and rate_limits.check(everywhere) and _is_known(user, network):
        return [pair]
    return [pair, *everywhere]


def _is_known(user: User, network: str) -> bool:
    """Return whether the user signed in from this network lately."""
    since = timezone.now() - KNOWN_ADDRESS_AGE
    entries = AuditEntry.objects.filter(user=user, kind=AuditKind.LOGIN_SUCCESS, created_at__gt=since)
    addresses = entries.exclude(address=None).order_by().values_list("address", flat=True).distinct()
    return network in {network_of(address) for address in addresses if address}


def _find_user(name: str) -> User | None:
    """Return the user with this name, or the only active user with this e-mail address."""
    user = User.objects.filter(username=name).first()
    if user is None and "@" in name:
        users = list(User.objects.filter(email__iexact=name, is_active=True)[:2])
        user = users[0] if len(users) == 1 else None
    return user
