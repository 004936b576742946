"""`manage.py rotate_signing_key`: replaces the key that signs access tokens."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from codelab.identity import audit, keys
from codelab.identity.models import AuditKind


class Command(BaseCommand):
    help = "Create a new key that signs access tokens. Tokens signed with the old key stay valid."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--now",
            action="store_true",
            help="Sign with it at once. Programs that cache the JWKS refuse tokens until they read it again.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        kid, begins_at = keys.rotate(at_once=options["now"])
        audit.record(AuditKind.SIGNING_KEY_ROTATE, detail=kid)
        self.stdout.write(
            f"{kid} is published. All processes sign with it within a minute from {begins_at:%H:%M:%S} UTC."
        )
