"""Most starts of `make run` find the database prepared, and do not load Django to see it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from codelab.local import accounts


def database_url() -> str:
    of = connection.settings_dict
    return f"postgresql://{of['USER']}:{of['PASSWORD']}@{of['HOST']}:{of['PORT']}/{of['NAME']}"


def test_the_migrations_are_those_that_django_finds() -> None:
    assert accounts.migrations() == set(MigrationLoader(None).disk_migrations)


@pytest.mark.django_db(transaction=True)
def test_a_database_with_all_tables_and_users_is_prepared() -> None:
    User.objects.create_user(accounts.ADMIN)
    assert not accounts.is_prepared(database_url())
    User.objects.create_user(accounts.DEMO)
    assert accounts.is_prepared(database_url())

    newest = MigrationRecorder(connection).migration_qs.filter(app="agent_sessions").latest("id")
    newest.delete()
    try:
        assert not accounts.is_prepared(database_url())
    finally:
        newest.save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_a_constraint_that_was_not_validated_is_left_to_migrate() -> None:
    for name in (accounts.ADMIN, accounts.DEMO):
        User.objects.create_user(name)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE auth_user ADD CONSTRAINT later CHECK (id > 0) NOT VALID")
        try:
            assert not accounts.is_prepared(database_url())
        finally:
            cursor.execute("ALTER TABLE auth_user DROP CONSTRAINT later")


def test_a_database_without_tables_or_without_a_server_is_not_prepared() -> None:
    assert not accounts.is_prepared(database_url().rpartition("/")[0] + "/postgres")
    assert not accounts.is_prepared("postgresql://codelab@127.0.0.1:1/codelab")
