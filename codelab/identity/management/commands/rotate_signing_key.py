"""`manage.py rotate_signing_key`: replaces the key that signs access tokens."""

from typing import Any

from django.core.management.base import BaseCommand

from codelab.identity import audit, keys
from codelab.identity.models import AuditKind


class Command(BaseCommand):
    help = "Create a new key that signs access tokens. Tokens signed with the old key stay valid."

    def handle(self, *args: Any, **options: Any) -> None:
        kid = keys.rotate()
        audit.record(AuditKind.SIGNING_KEY_ROTATE, detail=kid)
        self.stdout.write(f"All processes sign with {kid} within a minute.")
