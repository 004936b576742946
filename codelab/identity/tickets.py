"""How a socket gets in that sends no token of its own: by a ticket, or because its session was just opened by REST.

Both remember which credential was behind the request, and look whether it is still good when the socket comes.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from codelab.identity.credentials import Credential, expired, invalid, look_up
from codelab.identity.models import Opening, Ticket
from codelab.identity.secrets import TICKET, digest_of, new_secret

TICKET_LIFE = timedelta(seconds=60)


def new_ticket(credential: Credential, session_key: str) -> str:
    """Return a ticket for one socket on one session of the user."""
    secret = new_secret(TICKET)
    Ticket.objects.create(
        digest=digest_of(secret),
        user=credential.user,
        session_key=session_key,
        kind=credential.kind,
        reference=credential.reference,
        expires_at=timezone.now() + TICKET_LIFE,
    )
    return secret


def by_ticket(secret: str, session_key: str) -> Credential:
    """Take a ticket, which is gone then, and return the credential behind it; raises Refusal."""
    rows = Ticket.objects.filter(pk=digest_of(secret))
    ticket = rows.first()
    # Of several sockets that come with one ticket only one deletes it.
    if ticket is None or not rows.delete()[0] or ticket.session_key != session_key:
        raise invalid()
    credential = look_up(ticket.kind, ticket.reference)
    if ticket.expires_at <= timezone.now() or credential is None or credential.user.pk != ticket.user_id:
        raise expired()
    return credential


def note_opening(credential: Credential, session_key: str, address: str) -> None:
    """Let sockets without credentials follow the session from this address for a while."""
    Opening.objects.bulk_create(
        [
            Opening(
                user=credential.user,
                session_key=session_key,
                kind=credential.kind,
                reference=credential.reference,
                address=address,
                opened_at=timezone.now(),
            )
        ],
        update_conflicts=True,
        unique_fields=["session_key", "address", "user"],
        update_fields=["kind", "reference", "opened_at"],
    )


def by_opening(session_key: str, address: str) -> Credential | None:
    """Return the credential with which the session was opened from this address; None unless it was one user's."""
    if not settings.CODELAB_OPENED_SESSION_SECONDS or not address:
        return None
    since = timezone.now() - timedelta(seconds=settings.CODELAB_OPENED_SESSION_SECONDS)
    rows = Opening.objects.filter(session_key=session_key, address=address, opened_at__gt=since)
    found = [credential for row in rows[:10] if (credential := look_up(row.kind, row.reference))]
    return found[0] if len({credential.user.pk for credential in found}) == 1 else None
