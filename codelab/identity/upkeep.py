"""Deletes expired tickets, openings, tokens and browser sessions, old signing keys and old entries of the audit log."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.sessions.models import Session as BrowserSession
from django.db.models import QuerySet
from django.db.models.functions import Now

from codelab.identity.keys import RETIREMENT
from codelab.identity.models import AuditEntry, RefreshToken, SessionOpening, SigningKey, Ticket, TokenFamily
from sessions.upkeep import pieces
from sessions.upkeep.parts import Part, run_parts

#: Tokens and families are kept this long after they expired, so that reuse is detected and can be investigated.
EXPIRED_RETENTION = timedelta(days=7)
AUDIT_RETENTION = timedelta(days=365)
TIMEOUT_SECONDS = 300.0

#: What may go, and the column that says since when. An index begins with each of them.
EXPIRED: dict[str, Callable[[], QuerySet[Any]]] = {
    "tickets": lambda: Ticket.objects.filter(expires_at__lt=Now()).order_by("expires_at"),
    "openings": lambda: SessionOpening.objects.filter(opened_at__lt=Now() - timedelta(days=1)).order_by("opened_at"),
    # A family that is used every day has many, and never expires itself.
    "refresh tokens": lambda: RefreshToken.objects.filter(expires_at__lt=Now() - EXPIRED_RETENTION).order_by(
        "expires_at"
    ),
    "token families": lambda: TokenFamily.objects.filter(expires_at__lt=Now() - EXPIRED_RETENTION).order_by(
        "expires_at"
    ),
    "signing keys": lambda: SigningKey.objects.filter(retired_at__lt=Now() - 2 * RETIREMENT).order_by("retired_at"),
    "browser sessions": lambda: BrowserSession.objects.filter(expire_date__lt=Now()).order_by("expire_date"),
    "audit log": lambda: AuditEntry.objects.filter(created_at__lt=Now() - AUDIT_RETENTION).order_by("created_at"),
}


def delete_expired() -> None:
    """Delete them, whatever cannot be deleted. Several processes may do so at the same time."""
    parts: dict[str, Part] = {name: partial(_delete, rows) for name, rows in EXPIRED.items()}
    run_parts(parts, seconds=TIMEOUT_SECONDS)


def _delete(rows: Callable[[], QuerySet[Any]], deadline: float) -> int:
    return pieces.delete_in_pieces(rows(), deadline)
