"""`manage.py rotate_signing_key`: has access tokens signed with a new key from now on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from codelab.identity import audit, keys
from codelab.identity.models import AuditKind


class Command(BaseCommand):
    help = "Make a new key that signs access tokens. Tokens that the old one has signed stay good."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it."""
        kid = keys.rotate()
        audit.record(AuditKind.SIGNING_KEY_ROTATE, detail=kid)
        self.stdout.write(f"Tokens are signed with {kid} within a minute.")
