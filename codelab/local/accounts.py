"""The secrets that `make run` generates, and the database's tables and first users.

Run as a program (`python -m codelab.local.accounts`) it prepares the database. It is a process of its own because
Django reads its settings once, on import, when the supervisor does not know yet where the database is.
"""

import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codelab.environment import environment
from codelab.local.operating_system import StartupError, write_private

CREDENTIALS = "credentials.json"
ADMIN = "admin"
DEMO = "demo"
#: Argument: the passwords are new, so set them for existing users too.
RESET = "--reset-passwords"


@dataclass(frozen=True)
class Credentials:
    """What credentials.json holds."""

    secret_key: str
    flower_password: str
    admin_password: str
    demo_password: str
    #: Whether a start has shown the passwords. Until then they are new, to people and to the database.
    shown: bool = False


def load_credentials(folder: Path) -> Credentials:
    """Return the secrets stored in `folder`; generate them when there are none."""
    path = folder / CREDENTIALS
    try:
        return Credentials(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        pass
    except (ValueError, TypeError) as error:
        raise StartupError(f"{path} cannot be read ({error}): repair it, or delete it for new passwords.") from error
    flower, admin, demo = (secrets.token_urlsafe(12) for _ in range(3))
    credentials = Credentials(secrets.token_urlsafe(48), flower, admin, demo)
    _save(folder, credentials)
    return credentials


def mark_shown(folder: Path, credentials: Credentials) -> None:
    """Record that the passwords were shown, so that later starts keep them out of scrollbacks and logs."""
    _save(folder, replace(credentials, shown=True))


def _save(folder: Path, credentials: Credentials) -> None:
    write_private(folder / CREDENTIALS, json.dumps(asdict(credentials), indent=2) + "\n")


def prepare_database(credentials: Credentials, *, reset_passwords: bool) -> None:
    """Migrate the database and create the users "admin" and "demo" when they are missing."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "codelab.settings")
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", interactive=False, verbosity=1)
    for name, password, is_admin in (
        (ADMIN, credentials.admin_password, True),
        (DEMO, credentials.demo_password, False),
    ):
        user = User.objects.filter(username=name).first()
        if not user:
            User.objects.create_user(name, password=password, is_staff=is_admin, is_superuser=is_admin)
        elif reset_passwords:
            user.set_password(password)
            user.save(update_fields=["password"])
    connection.close()


if __name__ == "__main__":
    prepare_database(load_credentials(environment.data_dir), reset_passwords=RESET in sys.argv)
