"""Deletes expired tickets, openings and tokens, old signing keys and old entries of the audit log."""

from datetime import timedelta

from django.utils import timezone

from codelab.identity.keys import RETIREMENT
from codelab.identity.models import AuditEntry, RefreshToken, SessionOpening, SigningKey, Ticket, TokenFamily

#: Tokens and families are kept this long after they expired, so that reuse is detected and can be investigated.
EXPIRED_RETENTION = timedelta(days=7)
AUDIT_RETENTION = timedelta(days=365)


def delete_expired() -> None:
    """Delete them. Several processes may do so at the same time."""
    now = timezone.now()
    Ticket.objects.filter(expires_at__lt=now).delete()
    SessionOpening.objects.filter(opened_at__lt=now - timedelta(days=1)).delete()
    # A family that is used every day has many, and never expires itself.
    RefreshToken.objects.filter(expires_at__lt=now - EXPIRED_RETENTION).delete()
    TokenFamily.objects.filter(expires_at__lt=now - EXPIRED_RETENTION).delete()
    SigningKey.objects.filter(retired_at__lt=now - 2 * RETIREMENT).delete()
    AuditEntry.objects.filter(created_at__lt=now - AUDIT_RETENTION).delete()
