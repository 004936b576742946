"""Admits sockets without credentials of their own: by a ticket, or because REST just opened the session.

Both store the credential of the request and check that it is still valid when the socket opens.
"""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from codelab.identity.credentials import Credential, expired_credential, invalid_credential, look_up
from codelab.identity.models import SessionOpening, Ticket
from codelab.identity.secrets import TICKET_PREFIX, digest_of, new_secret

TICKET_LIFETIME = timedelta(seconds=60)


def issue_ticket(credential: Credential, session_key: str) -> str:
    """Return a new ticket for one socket on one session of the user."""
    secret = new_secret(TICKET_PREFIX)
    Ticket.objects.create(
        digest=digest_of(secret),
        user=credential.user,
        session_key=session_key,
        kind=credential.kind,
        reference=credential.reference,
        expires_at=timezone.now() + TICKET_LIFETIME,
    )
    return secret


def redeem_ticket(secret: str, session_key: str) -> Credential:
    """Delete a ticket and return the credential behind it; raises AccessDenied."""
    rows = Ticket.objects.filter(pk=digest_of(secret))
    ticket = rows.first()
    # Of several sockets with the same ticket only one deletes it.
    if ticket is None or not rows.delete()[0] or ticket.session_key != session_key:
        raise invalid_credential()
    credential = look_up(ticket.kind, ticket.reference)
    if ticket.expires_at <= timezone.now() or credential is None or credential.user.pk != ticket.user_id:
        raise expired_credential()
    return credential


def record_opening(credential: Credential, session_key: str, address: str) -> None:
    """Let sockets without credentials follow the session from this address for a while."""
    SessionOpening.objects.bulk_create(
        [
            SessionOpening(
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


def find_opening_credential(session_key: str, address: str) -> Credential | None:
    """Return the credential that opened the session from this address, None unless it belongs to exactly one user."""
    if not settings.CODELAB_OPENED_SESSION_SECONDS or not address:
        return None
    since = timezone.now() - timedelta(seconds=settings.CODELAB_OPENED_SESSION_SECONDS)
    rows = SessionOpening.objects.filter(session_key=session_key, address=address, opened_at__gt=since)
    credentials = [credential for row in rows[:10] if (credential := look_up(row.kind, row.reference))]
    return credentials[0] if len({credential.user.pk for credential in credentials}) == 1 else None
