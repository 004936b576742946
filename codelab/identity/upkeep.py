"""Deletes what is of no use any more: expired tickets, openings, tokens, old keys and old entries of the audit log."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from codelab.identity.keys import RETIREMENT
from codelab.identity.models import AuditEntry, Opening, RefreshToken, SigningKey, Ticket, TokenFamily

#: How long tokens and families are kept after they expired, so that reuse is noticed and can be looked at.
KEPT = timedelta(days=7)
AUDIT_KEPT = timedelta(days=365)


def tidy() -> None:
    """Delete it; may run in several places at once."""
    now = timezone.now()
    Ticket.objects.filter(expires_at__lt=now).delete()
    Opening.objects.filter(opened_at__lt=now - timedelta(days=1)).delete()
    # A family that is used every day has many of them, and never expires itself.
    RefreshToken.objects.filter(expires_at__lt=now - KEPT).delete()
    TokenFamily.objects.filter(expires_at__lt=now - KEPT).delete()
    SigningKey.objects.filter(retired_at__lt=now - 2 * RETIREMENT).delete()
    AuditEntry.objects.filter(created_at__lt=now - AUDIT_KEPT).delete()
