"""The secrets that `make run` generates, and the database's tables and first users.

Run as a program (`python -m codelab.local.accounts`) it prepares the database. It is a process of its own because
Django reads its settings once, on import, when the supervisor does not know yet where the database is. Most starts do
not need it (`is_prepared`).
"""

import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import psycopg

from codelab.environment import environment
from codelab.local.operating_system import StartupError, write_private

CREDENTIALS = "credentials.json"
ADMIN = "admin"
DEMO = "demo"
#: The installed apps that have migrations, by their labels.
APPS = {
    "agent_sessions": "sessions",
    "identity": "codelab.identity",
    "admin": "django.contrib.admin",
    "auth": "django.contrib.auth",
    "contenttypes": "django.contrib.contenttypes",
    "sessions": "django.contrib.sessions",
}
#: Our users, and constraints that a cut-off `migrate` has not validated.
_REST = """
    SELECT (SELECT count(*) FROM auth_user WHERE username = ANY(%s)),
        (SELECT count(*) FROM pg_constraint
            WHERE NOT convalidated AND contype = 'c' AND connamespace = current_schema()::regnamespace)
"""
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


def migrations() -> set[tuple[str, str]]:
    """Return app and name of each migration of this version, without loading Django."""
    found: set[tuple[str, str]] = set()
    for label, package in APPS.items():
        spec = find_spec(f"{package}.migrations")
        for folder in spec.submodule_search_locations or () if spec else ():
            found |= {(label, path.stem) for path in Path(folder).glob("[!_]*.py")}
    return found


def is_prepared(url: str) -> bool:
    """Return whether the database has all tables and users already, so that `prepare_database` would do nothing.

    The answer takes milliseconds; to load Django for it would take seconds of each start. When in doubt it is no.
    """
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
            rest = connection.execute(_REST, [[ADMIN, DEMO]]).fetchone()
    except psycopg.Error:
        return False
    return migrations() <= applied and rest == (2, 0)


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
