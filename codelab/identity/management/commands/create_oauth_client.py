"""`manage.py create_oauth_client`: registers a program that may ask for tokens."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from codelab.identity.models import Client, Scope, join_scopes
from codelab.identity.secrets import new_secret


class Command(BaseCommand):
    help = "Register an OAuth client. With --user it is confidential, and its secret is shown only once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("client_id")
        parser.add_argument("--name", default="", help="A name for people.")
        parser.add_argument("--user", help="The user it acts as when it signs in by itself (client_credentials).")
        parser.add_argument("--scope", action="append", choices=Scope.values, help="May be repeated.")

    def handle(self, *args: Any, **options: Any) -> None:
        client_id = options["client_id"]
        if Client.objects.filter(client_id=client_id).exists():
            raise CommandError(f"The client {client_id} exists already.")
        user = User.objects.filter(username=options["user"]).first()
        if options["user"] and user is None:
            raise CommandError(f"The user {options['user']} does not exist.")
        secret = new_secret("") if user else ""
        Client.objects.create(
            client_id=client_id,
            name=options["name"],
            user=user,
            secret_hash=make_password(secret) if secret else "",
            scopes=join_scopes(set(options["scope"] or [Scope.READ, Scope.WRITE])),
        )
        self.stdout.write(f"client_id={client_id}")
        if secret:
            self.stdout.write(f"client_secret={secret}")
