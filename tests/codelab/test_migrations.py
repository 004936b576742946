"""Migrations only add, so that the version before can go on with the new tables."""

from __future__ import annotations

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations import (
    AddField,
    AddIndex,
    AlterField,
    AlterModelTable,
    DeleteModel,
    Migration,
    RemoveField,
    RenameField,
    RenameModel,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

from codelab.schema import PatientSchemaEditor

#: The newest migrations from before this rule.
LAST_FREE = {"agent_sessions": "0014", "identity": "0003"}


def _migrations() -> list[Migration]:
    disk = MigrationLoader(None).disk_migrations
    return [
        migration
        for (label, name), migration in sorted(disk.items())
        if label in LAST_FREE and name[:4] > LAST_FREE[label]
    ]


@pytest.mark.parametrize("migration", _migrations(), ids=str)
def test_a_migration_only_adds(migration: Migration) -> None:
    taken = (RemoveField, RenameField, DeleteModel, RenameModel, AlterModelTable, SeparateDatabaseAndState)
    for operation in migration.operations:
        assert not isinstance(operation, taken), "old processes still use it"
        if isinstance(operation, AddField):
            field = operation.field
            assert field.null or field.many_to_many or field.db_default is not NOT_PROVIDED, (
                f"old processes write rows without {operation.name}: give it a default in the database"
            )


@pytest.mark.parametrize("migration", _migrations(), ids=str)
def test_a_migration_makes_indexes_beside_writers_and_alone(migration: Migration) -> None:
    for operation in migration.operations:
        assert isinstance(operation, AddIndexConcurrently) or not isinstance(operation, AddIndex)
    if not migration.atomic:
        # What ran before a cancelled build would fail when `migrate` runs again.
        kinds = {type(operation) for operation in migration.operations}
        assert kinds <= {AddIndexConcurrently, RunPython, RunSQL, AlterField}


@pytest.mark.parametrize("migration", _migrations(), ids=str)
def test_a_migration_can_be_undone(migration: Migration) -> None:
    assert [operation for operation in migration.operations if not operation.reversible] == []


def test_a_check_is_added_without_a_scan() -> None:
    assert PatientSchemaEditor.sql_create_check.endswith(" NOT VALID")
